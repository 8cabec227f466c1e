import { PAGE_SIZE, WRITE } from '../../mm/address-space.js';
import type { AllocateDma, DmaBuffer } from '../../mm/frame-memory.js';
import { DmaList } from '../dma-list.js';
import type { DmaPort } from '../dma-port.js';
import type { RegisterFile } from '../register-table.js';
import {
  Cause,
  Ctrl,
  DescriptorType,
  HEADER_LENGTH_SHIFT,
  PacketType,
  QUEUE_ENABLE,
  Rctl,
  Rxcsum,
  RxStatus,
  SPLIT_HEADER,
  Srrctl,
} from './bits.js';
import { Filters } from './filters.js';
import type { IgbInterrupts } from './interrupts.js';
import { FRAME_MOST, LIST_PIECES } from './limits.js';
import { ADDRESS_BYTES, MAC_BYTES, Packet, Protocol, TAG_BYTES } from './packet.js';
import { Count, QUEUE_STRIDE, QUEUES, Reg } from './registers.js';
import { addressAt, DESCRIPTOR_BYTES, Ring, receiveRing } from './ring.js';
import { Rss } from './rss.js';
import type { Statistics } from './statistics.js';

const CRC_BYTES = 4;
/** RCTL.BSIZE, by its two bits. */
const BUFFER_BYTES = [2048, 1024, 512, 256];
const BUFFER_LEAST = 256;
const HEADER_UNIT = 64;
/** RXDMT: SRRCTL counts free descriptors by sixteens. */
const THRESHOLD_UNIT = 16;
/** Descriptors that are written back in one go. */
const BACKS_MOST = 1024;
/** Pieces and descriptors of the longest frame, where each buffer may lie over two pages. */
const FRAME_BUFFERS = Math.ceil((FRAME_MOST + CRC_BYTES) / BUFFER_LEAST) + 1;
const FRAME_PIECES = 5 * FRAME_BUFFERS;

/** The receive queues: frames in, by way of filters, RSS and checksums, to descriptors (7.1). */
export class Receiver {
  private readonly rings: readonly Ring[];
  private readonly filters: Filters;
  private readonly rss: Rss;
  private readonly packet = new Packet();
  private readonly writes = new DmaList(LIST_PIECES);
  private readonly backs: DmaBuffer;
  private readonly backsView: DataView;
  private backCount = 0;
  /** Where each of them goes, in bytes of IOVA. */
  private readonly backAddresses = new Float64Array(BACKS_MOST);
  /** Queues, by bits, that have got frames since the last flush; and whether one found no room. */
  private served = 0;
  private isOverrun = false;

  constructor(
    private readonly registers: RegisterFile,
    private readonly interrupts: IgbInterrupts,
    private readonly statistics: Statistics,
    private readonly dma: DmaPort,
    allocate: AllocateDma,
  ) {
    this.filters = new Filters(registers, statistics);
    this.rss = new Rss(registers);
    this.backs = allocate(BACKS_MOST * DESCRIPTOR_BYTES);
    const { bytes } = this.backs;
    this.backsView = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.rings = Array.from(
      { length: QUEUES },
      (_, index) => new Ring(registers, receiveRing, index, allocate),
    );
    registers.onWrite(['RDT'], (_, index) => this.rings[index]!.tailMoved());
    registers.onWrite(['RDBAL', 'RDBAH', 'RDLEN', 'RDH', 'RXDCTL'], (_, index) =>
      this.rings[index]!.forget(),
    );
  }

  reset(): void {
    for (const ring of this.rings) ring.forget();
    this.writes.clear();
    this.backCount = 0;
    this.served = 0;
    this.isOverrun = false;
  }

  /** Receiving is on, and some queue has a buffer. Hot. */
  get ready(): boolean {
    const { registers } = this;
    if ((registers.get(Reg.RCTL) & Rctl.ENABLE) === 0 || !this.dma.enabled) return false;
    if ((registers.get(Reg.CTRL) & Ctrl.MASTER_DISABLE) !== 0) return false;
    for (let queue = 0; queue < QUEUES; queue++)
      if (this.isOn(queue) && this.rings[queue]!.owned > 0) return true;
    return false;
  }

  /**
   * A frame has come, in a buffer that has room for a checksum behind it and stays as it is until
   * `flush`.
   */
  take(buffer: DmaBuffer, offset: number, length: number): void {
    const { registers } = this;
    if ((registers.get(Reg.RCTL) & Rctl.ENABLE) === 0 || length < MAC_BYTES) return;
    this.statistics.arrived(length);
    const { bytes } = buffer;
    if (length > FRAME_MOST || !this.filters.accepts(bytes, offset, length)) return;
    this.packet.parse(bytes, offset, length, registers.get(Reg.VET) & 0xffff);
    const hashed = this.rss.queueOf(this.packet);
    const queue = this.isOn(hashed) ? hashed : 0;
    if (!this.isOn(queue)) return;
    const room = this.writes.room - this.backCount;
    if (room < FRAME_PIECES || this.backCount + FRAME_BUFFERS > BACKS_MOST) this.write();
    if (this.place(this.rings[queue]!, buffer, offset, length)) this.served |= 1 << queue;
    else this.overrun(queue);
  }

  /** Writes what was taken to memory, and tells of it. */
  flush(): void {
    this.write();
    const { served } = this;
    this.served = 0;
    for (let queue = 0; served >>> queue !== 0; queue++) {
      if (((served >>> queue) & 1) === 0) continue;
      const control = this.registers.get(Reg.SRRCTL + queue * QUEUE_STRIDE);
      const threshold = (control >>> Srrctl.THRESHOLD_SHIFT) & Srrctl.THRESHOLD_MASK;
      const isShort = this.rings[queue]!.owned <= threshold * THRESHOLD_UNIT;
      this.interrupts.queue(queue, false, Cause.RXDW | (isShort ? Cause.RXDMT : 0));
    }
    if (this.isOverrun) this.interrupts.raise(Cause.RXO);
    this.isOverrun = false;
  }

  private isOn(queue: number): boolean {
    return (this.registers.get(Reg.RXDCTL + queue * QUEUE_STRIDE) & QUEUE_ENABLE) !== 0;
  }

  /** Frames first, then their descriptors, those that lie one behind the other in one piece. */
  private write(): void {
    const { writes, backAddresses, backCount } = this;
    writes.together = writes.count;
    for (let first = 0, end = 1; first < backCount; first = end++) {
      const address = backAddresses[first]!;
      const offset = address % PAGE_SIZE;
      while (
        end < backCount &&
        backAddresses[end] === address + (end - first) * DESCRIPTOR_BYTES &&
        offset + (end - first + 1) * DESCRIPTOR_BYTES <= PAGE_SIZE
      )
        end++;
      const bytes = (end - first) * DESCRIPTOR_BYTES;
      const page = (address - offset) / PAGE_SIZE;
      writes.append(page, offset, bytes, this.backs, first * DESCRIPTOR_BYTES, writes.count);
    }
    if (writes.count > 0) this.dma.write(writes, null);
    writes.clear();
    this.backCount = 0;
  }

  private overrun(queue: number): void {
    this.statistics.add(Count.RNBC);
    this.statistics.add(Count.MPC);
    this.statistics.add(Reg.RQDPC + queue * QUEUE_STRIDE);
    this.isOverrun = true;
  }

  /** Puts a frame into buffers, and counts it. False: the queue has not enough, and keeps them. */
  private place(ring: Ring, buffer: DmaBuffer, offset: number, length: number): boolean {
    const { registers, packet, dma } = this;
    if (!dma.enabled) {
      dma.holdBack(ring.address, WRITE);
      return false;
    }
    const control = registers.get(Reg.SRRCTL + ring.index * QUEUE_STRIDE);
    const rctl = registers.get(Reg.RCTL);
    const bufferBytes =
      (control & Srrctl.BUFFER_MASK) << Srrctl.BUFFER_SHIFT ||
      BUFFER_BYTES[(rctl >>> Rctl.BUFFER_SIZE_SHIFT) & 3]!;
    const { bytes } = buffer;
    const tag = this.tagToStrip(bytes, offset, length);
    let at = tag < 0 ? offset : offset + TAG_BYTES;
    const end = this.withChecksum(bytes, offset + length, rctl);
    const type = (control >>> Srrctl.TYPE_SHIFT) & Srrctl.TYPE_MASK;
    const headerRoom = ((control & Srrctl.HEADER_MASK) >>> 8) * HEADER_UNIT;
    const headers = packet.headerBytes - (at - offset);
    const status = this.statusOf(tag);
    if (Math.ceil((end - at) / bufferBytes) > ring.owned || ring.available(dma) === 0) return false;
    this.statistics.received(bytes, offset, length);
    if (tag >= 0) bytes.copyWithin(at, offset, offset + ADDRESS_BYTES);
    let isFirst = true;
    do {
      // What is owned can still not be fetched: then the frame ends where it is.
      if (ring.available(dma) === 0) return true;
      const { view, current } = ring;
      const data = addressAt(view, current);
      let header = 0;
      let info = 0;
      if (isFirst && headerRoom > 0) {
        if (type === DescriptorType.SPLIT_ALWAYS) {
          header = Math.min(end - at, headerRoom);
          info = header << HEADER_LENGTH_SHIFT;
        } else if (type === DescriptorType.HEADER_SPLIT) {
          const isSplit = packet.headerBytes > 0 && headers <= headerRoom;
          header = isSplit ? headers : 0;
          info = isSplit
            ? SPLIT_HEADER | (headers << HEADER_LENGTH_SHIFT)
            : headerRoom << HEADER_LENGTH_SHIFT;
        }
        this.append(addressAt(view, current + 8), header, buffer, at);
        at += header;
      }
      const part = Math.min(end - at, bufferBytes);
      this.append(data, part, buffer, at);
      at += part;
      const isLast = at === end;
      this.back(ring, isLast ? status : RxStatus.DONE, part, isLast ? tag : -1, info, type);
      ring.advance();
      isFirst = false;
    } while (at < end);
    return true;
  }

  /** The tag, where CTRL.VME says that it is taken out, or -1. */
  private tagToStrip(bytes: Uint8Array, offset: number, length: number): number {
    if ((this.registers.get(Reg.CTRL) & Ctrl.VLAN_MODE) === 0) return -1;
    if (length < MAC_BYTES + TAG_BYTES || !this.filters.isTag(bytes, offset)) return -1;
    return this.packet.word(offset + MAC_BYTES);
  }

  /** Where the frame ends in a buffer: with a checksum, of zeros, where it is not taken off. */
  private withChecksum(bytes: Uint8Array, end: number, rctl: number): number {
    if ((rctl & Rctl.STRIP_CRC) !== 0) return end;
    bytes.fill(0, end, end + CRC_BYTES);
    return end + CRC_BYTES;
  }

  private append(address: number, length: number, buffer: DmaBuffer, from: number): void {
    if (length === 0 || address < 0) return;
    const offset = address % PAGE_SIZE;
    const page = (address - offset) / PAGE_SIZE;
    this.writes.appendRange(page, offset, length, buffer, from, this.writes.count);
  }

  /** Writes the head's descriptor back. */
  private back(
    ring: Ring,
    status: number,
    length: number,
    tag: number,
    info: number,
    type: number,
  ): void {
    this.backAddresses[this.backCount] = ring.address;
    const at = this.backCount++ * DESCRIPTOR_BYTES;
    const view = this.backsView;
    const vlan = tag < 0 ? 0 : tag << 16;
    if (type === DescriptorType.LEGACY) {
      view.setUint32(at, ring.view.getUint32(ring.current, true), true);
      view.setUint32(at + 4, ring.view.getUint32(ring.current + 4, true), true);
      view.setUint32(at + 8, length, true);
      view.setUint32(at + 12, (status & 0xff) | vlan | legacyErrors(status), true);
    } else {
      view.setUint32(at, this.typeOf() | this.rss.kind | info, true);
      view.setUint32(at + 4, this.hashOrId(), true);
      view.setUint32(at + 8, status, true);
      view.setUint32(at + 12, length | vlan, true);
    }
  }

  /** Status of a frame's last descriptor: what was checked, and what was wrong. */
  private statusOf(tag: number): number {
    const { packet } = this;
    const rxcsum = this.registers.get(Reg.RXCSUM);
    let status: number = RxStatus.DONE | RxStatus.END | (tag < 0 ? 0 : RxStatus.VLAN);
    if (packet.version === 4) {
      if (this.hasId) status |= RxStatus.IP_ID;
      if ((rxcsum & Rxcsum.IP) !== 0) {
        status |= RxStatus.IP_CHECKED;
        if (!packet.isIpSumRight) status |= RxStatus.IP_ERROR;
      }
    }
    const isUdp = packet.protocol === Protocol.UDP;
    if ((rxcsum & Rxcsum.L4) === 0 || (!isUdp && packet.protocol !== Protocol.TCP)) return status;
    if (!packet.hasTransportSum) return status;
    status |= RxStatus.L4_CHECKED | (isUdp ? RxStatus.UDP_CHECKED : 0);
    return packet.isTransportSumRight ? status : status | RxStatus.L4_ERROR;
  }

  /** The word of the hash holds the IP identification. */
  private get hasId(): boolean {
    const isHash = (this.registers.get(Reg.RXCSUM) & Rxcsum.NO_IP_CHECKSUM) !== 0;
    return this.packet.version === 4 && !isHash;
  }

  private hashOrId(): number {
    const isHash = (this.registers.get(Reg.RXCSUM) & Rxcsum.NO_IP_CHECKSUM) !== 0;
    if (isHash) return this.rss.hash;
    return this.hasId ? this.packet.word(this.packet.ip + 4) : 0;
  }

  private typeOf(): number {
    const { version, protocol } = this.packet;
    let type = version === 4 ? PacketType.IPV4 : version === 6 ? PacketType.IPV6 : 0;
    if (protocol === Protocol.TCP) type |= PacketType.TCP;
    else if (protocol === Protocol.UDP) type |= PacketType.UDP;
    else if (protocol === Protocol.SCTP) type |= PacketType.SCTP;
    return type;
  }
}

/** Errors as a legacy descriptor has them: a byte behind the status (7.1.4). */
function legacyErrors(status: number): number {
  return (status >>> 24) << 8;
}
