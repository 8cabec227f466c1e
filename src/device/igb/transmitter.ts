import { PAGE_SIZE, READ } from '../../mm/address-space.js';
import type { AllocateDma, DmaBuffer } from '../../mm/frame-memory.js';
import { DmaList } from '../dma-list.js';
import type { DmaOwner, DmaPort } from '../dma-port.js';
import type { RegisterFile } from '../register-table.js';
import { Cause, Ctrl, DESCRIPTOR_DONE, QUEUE_ENABLE, Tctl, TxCommand, TxOptions } from './bits.js';
import type { IgbInterrupts } from './interrupts.js';
import {
  BATCH,
  BATCHES_PER_TURN,
  HEADROOM,
  LIST_PIECES,
  PACKET_MOST,
  STAGING_BYTES,
  TAILROOM,
} from './limits.js';
import {
  insertSum,
  insertSums,
  insertTag,
  isSegmentable,
  pad,
  type SegmentSink,
  segment,
  TxContext,
} from './offloads.js';
import { MAC_BYTES, TAG_BYTES } from './packet.js';
import { Count, QUEUE_STRIDE, QUEUES, Reg } from './registers.js';
import { addressAt, HIGH_END, Ring, transmitRing } from './ring.js';
import type { Statistics } from './statistics.js';

const WORD_BYTES = 4;
/** Words of a descriptor, in bytes. */
const COMMAND = 8;
const STATUS = 12;
/** Context descriptors that a queue keeps. */
const CONTEXTS = 8;
const ALIGNMENT = 16;
/** TDWBAL: the head is written to memory, and no descriptor. */
const HEAD_WRITE_BACK = 1;

/** Where frames go. They stay where they are until `flush` returns. */
export interface Wire {
  take(buffer: DmaBuffer, offset: number, length: number): void;
  flush(): void;
}

/** A packet on its way: what its descriptors have said so far. */
class Outgoing {
  start = 0;
  length = 0;
  command = 0;
  options = 0;
  vlan = 0;
  sumStart = 0;
  sumAt = 0;
  isLegacy = false;
  isTooLong = false;
  isBegun = false;
  /** As it was when the packet began: another may follow before it is sent. */
  readonly context = new TxContext();

  clear(): void {
    this.length = 0;
    this.command = 0;
    this.options = 0;
    this.isLegacy = false;
    this.isTooLong = false;
    this.isBegun = false;
  }

  copy(from: Outgoing): void {
    this.start = from.start;
    this.length = from.length;
    this.command = from.command;
    this.options = from.options;
    this.vlan = from.vlan;
    this.sumStart = from.sumStart;
    this.sumAt = from.sumAt;
    this.isLegacy = from.isLegacy;
    this.isTooLong = from.isTooLong;
    this.context.copy(from.context);
  }
}

interface Queue {
  readonly ring: Ring;
  readonly contexts: readonly TxContext[];
  /** A packet whose last descriptor has not come, and its bytes where there are some. */
  readonly partial: Outgoing;
  carried: Uint8Array | null;
}

/** The transmit queues: descriptors in, frames out (7.2). */
export class Transmitter implements DmaOwner, SegmentSink {
  private readonly queues: readonly Queue[];
  private readonly staging: DmaBuffer;
  private readonly segments: DmaBuffer;
  private segmentsEnd = 0;
  private readonly reads = new DmaList(LIST_PIECES);
  private readonly writes = new DmaList(LIST_PIECES);
  private readonly packets = Array.from({ length: BATCH }, () => new Outgoing());
  /** Where each descriptor's bytes go, by its tag, for those that cannot be read. */
  private readonly pieceStart = new Int32Array(BATCH);
  private readonly pieceLength = new Int32Array(BATCH);
  private readonly done: DmaBuffer;
  private readonly doneView: DataView;
  /** A descriptor of the batch asks for a report (RS). */
  private hasReport = false;

  constructor(
    private readonly registers: RegisterFile,
    private readonly interrupts: IgbInterrupts,
    private readonly statistics: Statistics,
    private readonly dma: DmaPort,
    private readonly wire: Wire,
    allocate: AllocateDma,
  ) {
    this.staging = allocate(STAGING_BYTES);
    this.segments = allocate(STAGING_BYTES);
    this.done = allocate(BATCH * WORD_BYTES);
    const { bytes } = this.done;
    this.doneView = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.queues = Array.from({ length: QUEUES }, (_, index) => ({
      ring: new Ring(registers, transmitRing, index, allocate),
      contexts: Array.from({ length: CONTEXTS }, () => new TxContext()),
      partial: new Outgoing(),
      carried: null,
    }));
    registers.onWrite(['TDT'], (_, index) => this.queues[index]!.ring.tailMoved());
    registers.onWrite(['TDBAL', 'TDBAH', 'TDLEN', 'TDH', 'TXDCTL'], (_, index) =>
      this.queues[index]!.ring.forget(),
    );
  }

  reset(): void {
    for (const queue of this.queues) {
      queue.ring.forget();
      queue.partial.clear();
      queue.carried = null;
      for (const context of queue.contexts) context.clear();
    }
  }

  /** Hot where there is nothing to do. True: descriptors were used. */
  poll(): boolean {
    const { registers } = this;
    if ((registers.get(Reg.TCTL) & Tctl.ENABLE) === 0) return false;
    if ((registers.get(Reg.CTRL) & Ctrl.MASTER_DISABLE) !== 0) return false;
    let found = false;
    for (let index = 0; index < QUEUES; index++) {
      if ((registers.get(Reg.TXDCTL + index * QUEUE_STRIDE) & QUEUE_ENABLE) === 0) continue;
      const queue = this.queues[index]!;
      for (let batch = 0; batch < BATCHES_PER_TURN && queue.ring.owned > 0; batch++) {
        if (!this.batch(queue)) break;
        found = true;
      }
    }
    return found;
  }

  /** What cannot be read is sent as zeros. */
  refused(tag: number): void {
    const start = this.pieceStart[tag]!;
    this.staging.bytes.fill(0, start, start + this.pieceLength[tag]!);
  }

  get target(): Uint8Array {
    return this.segments.bytes;
  }

  reserve(length: number): number {
    const need = HEADROOM + length + MAC_BYTES + TAILROOM + 64;
    if (this.segmentsEnd + need > STAGING_BYTES) {
      this.wire.flush();
      this.segmentsEnd = 0;
    }
    const at = this.segmentsEnd + HEADROOM;
    this.segmentsEnd = align(this.segmentsEnd + need);
    return at;
  }

  emit(offset: number, length: number): void {
    this.put(this.segments, offset, length);
  }

  /** Moves up to BATCH descriptors of a queue. False: there were none, or none can be read. */
  private batch(queue: Queue): boolean {
    const { dma } = this;
    const { ring } = queue;
    if (!dma.enabled) {
      dma.holdBack(ring.address, READ);
      return false;
    }
    const count = ring.available(dma);
    if (count === 0) return false;
    this.reads.clear();
    this.writes.clear();
    const complete = this.collect(queue, count);
    this.reads.together = this.reads.count;
    dma.read(this.reads, this);
    this.segmentsEnd = 0;
    for (let index = 0; index < complete; index++) this.send(this.packets[index]!);
    this.wire.flush();
    if (queue.partial.isBegun) this.carry(queue);
    this.report(queue);
    return true;
  }

  /** Takes up to `count` descriptors: contexts, and pieces of packets. Returns whole packets. */
  private collect(queue: Queue, count: number): number {
    const { ring, partial } = queue;
    const { view } = ring;
    let end = this.restore(queue);
    let complete = 0;
    for (let taken = 0; taken < count; taken++) {
      const at = ring.current;
      const command = view.getUint32(at + COMMAND, true);
      const status = view.getUint32(at + STATUS, true);
      const isExtended = (command & TxCommand.EXTENDED) !== 0;
      if (isExtended && (command & TxCommand.TYPE_MASK) === TxCommand.CONTEXT) {
        queue.contexts[contextOf(status)]!.load(view, at);
      } else {
        const bytes = command & 0xffff;
        if (!partial.isBegun) {
          partial.clear();
          partial.isBegun = true;
          partial.isLegacy = !isExtended;
          partial.start = end + HEADROOM;
          partial.options = status;
          partial.context.copy(queue.contexts[contextOf(status)]!);
          end = partial.start;
        }
        if (!partial.isTooLong && partial.length + bytes > PACKET_MOST) partial.isTooLong = true;
        // The packet has to wait for the next batch, where the buffer is empty.
        if (!partial.isTooLong && end + bytes + TAILROOM + 128 > STAGING_BYTES) break;
        if (!isExtended) this.noteLegacy(partial, command, status);
        partial.command |= command;
        if (!partial.isTooLong && bytes > 0) {
          this.fetch(taken, addressAt(view, at), bytes, end);
          partial.length += bytes;
          end += bytes;
        }
        if ((command & TxCommand.END) !== 0) {
          this.packets[complete++]!.copy(partial);
          partial.clear();
          end = align(Math.max(end, this.packets[complete - 1]!.start + 64) + TAILROOM);
        }
      }
      if ((command & TxCommand.REPORT) !== 0) this.noteDone(queue, status);
      ring.advance();
    }
    return complete;
  }

  private noteLegacy(packet: Outgoing, command: number, status: number): void {
    packet.vlan = status >>> 16;
    packet.sumStart = (status >>> 8) & 0xff;
    packet.sumAt = (command >>> 16) & 0xff;
  }

  private fetch(tag: number, address: number, bytes: number, to: number): void {
    this.pieceStart[tag] = to;
    this.pieceLength[tag] = bytes;
    if (address < 0) {
      this.refused(tag);
      return;
    }
    const offset = address % PAGE_SIZE;
    const page = (address - offset) / PAGE_SIZE;
    this.reads.appendRange(page, offset, bytes, this.staging, to, tag);
  }

  /** A descriptor that asks for it is marked as done, or the head is written instead. */
  private noteDone({ ring }: Queue, status: number): void {
    this.hasReport = true;
    if (this.writesHead(ring)) return;
    const slot = this.writes.count * WORD_BYTES;
    this.doneView.setUint32(slot, status | DESCRIPTOR_DONE, true);
    this.write(ring.address + STATUS, slot);
  }

  private writesHead({ index }: Ring): boolean {
    return (this.registers.get(Reg.TDWBAL + index * QUEUE_STRIDE) & HEAD_WRITE_BACK) !== 0;
  }

  private write(address: number, slot: number): void {
    const offset = address % PAGE_SIZE;
    const page = (address - offset) / PAGE_SIZE;
    this.writes.append(page, offset, WORD_BYTES, this.done, slot, this.writes.count);
  }

  /** Reports what was taken: descriptors or the head in memory, and the interrupt. */
  private report({ ring }: Queue): void {
    if (!this.hasReport) return;
    this.hasReport = false;
    if (this.writesHead(ring)) {
      const shift = ring.index * QUEUE_STRIDE;
      this.doneView.setUint32(0, this.registers.get(Reg.TDH + shift), true);
      const low = this.registers.get(Reg.TDWBAL + shift);
      const high = this.registers.get(Reg.TDWBAH + shift);
      if (high < HIGH_END) this.write(high * 2 ** 32 + low - (low % WORD_BYTES), 0);
    }
    this.writes.together = this.writes.count;
    this.dma.write(this.writes, null);
    this.interrupts.queue(ring.index, true, Cause.TXDW);
  }

  private send(packet: Outgoing): void {
    const { staging } = this;
    const { start, length, options, command } = packet;
    if (packet.isTooLong || length < MAC_BYTES) return;
    const { bytes } = staging;
    if (packet.isLegacy) {
      if ((command & TxCommand.INSERT_CHECKSUM) !== 0)
        insertSum(bytes, start, length, packet.sumStart, packet.sumAt);
      this.tag(staging, start, length, command, packet.vlan);
      return;
    }
    const { context } = packet;
    if ((command & TxCommand.SEGMENT) === 0) {
      insertSums(bytes, start, length, context, options);
      this.tag(staging, start, length, command, context.vlan);
    } else if (isSegmentable(length, context)) {
      this.tagCommand = command;
      this.tagVlan = context.vlan;
      segment(bytes, start, length, context, options, this);
      this.statistics.add(Count.TSCTC);
    }
  }

  /** Of the packet that is cut to segments. */
  private tagCommand = 0;
  private tagVlan = 0;

  private put(buffer: DmaBuffer, offset: number, length: number): void {
    this.tag(buffer, offset, length, this.tagCommand, this.tagVlan);
  }

  /** Hands a frame on, with its tag where it gets one. */
  private tag(
    buffer: DmaBuffer,
    offset: number,
    length: number,
    command: number,
    vlan: number,
  ): void {
    const { bytes } = buffer;
    // CTRL.VME is of what is received: Linux clears it and has tags put in all the same.
    const isTagged = (command & TxCommand.VLAN) !== 0;
    if (isTagged) insertTag(bytes, offset, this.registers.get(Reg.VET) & 0xffff, vlan);
    const first = isTagged ? offset - TAG_BYTES : offset;
    const whole = pad(bytes, first, isTagged ? length + TAG_BYTES : length);
    this.statistics.sent(bytes, first, whole);
    this.wire.take(buffer, first, whole);
  }

  /** Keeps the bytes of a packet that has not ended; the buffer is needed for others. */
  private carry(queue: Queue): void {
    const { partial } = queue;
    const { bytes } = this.staging;
    queue.carried = bytes.slice(partial.start, partial.start + partial.length);
  }

  /** Puts them back at the buffer's start; returns where the next ones go. */
  private restore(queue: Queue): number {
    const { partial, carried } = queue;
    if (!partial.isBegun) return 0;
    partial.start = HEADROOM;
    if (carried !== null) this.staging.bytes.set(carried, HEADROOM);
    queue.carried = null;
    return HEADROOM + partial.length;
  }
}

function contextOf(status: number): number {
  return (status >>> TxOptions.CONTEXT_SHIFT) % CONTEXTS;
}

function align(offset: number): number {
  return Math.ceil(offset / ALIGNMENT) * ALIGNMENT;
}
