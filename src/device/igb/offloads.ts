import { ContextType, TxOptions } from './bits.js';
import { FRAME_LEAST, SEGMENTS_MOST } from './limits.js';
import { ADDRESS_BYTES, MAC_BYTES, sum, TAG_BYTES } from './packet.js';

/** TCP's flags that only the first and only the last segment keep. */
const FLAGS = 13;
const ONLY_LAST = 0x09;
const ONLY_FIRST = 0x80;
const CHECKSUM_AT = { tcp: 16, udp: 6, sctp: 8 } as const;

/** A context descriptor: what later descriptors mean by their options (7.2.2.2). */
export class TxContext {
  private readonly words = new Uint32Array(4);

  load(view: DataView, offset: number): void {
    for (let word = 0; word < 4; word++) this.words[word] = view.getUint32(offset + 4 * word, true);
  }

  copy(from: TxContext): void {
    this.words.set(from.words);
  }

  clear(): void {
    this.words.fill(0);
  }

  get ipBytes(): number {
    return this.words[0]! & 0x1ff;
  }
  get macBytes(): number {
    return (this.words[0]! >>> 9) & 0x7f;
  }
  get vlan(): number {
    return this.words[0]! >>> 16;
  }
  get isIpv4(): boolean {
    return (this.words[2]! & ContextType.IPV4) !== 0;
  }
  get protocol(): number {
    return this.words[2]! & ContextType.L4_MASK;
  }
  get transportBytes(): number {
    return (this.words[3]! >>> 8) & 0xff;
  }
  get segmentBytes(): number {
    return this.words[3]! >>> 16;
  }
}

/** Puts a VLAN tag into the frame at `offset`; it then begins as many bytes earlier. */
export function insertTag(bytes: Uint8Array, offset: number, type: number, vlan: number): void {
  bytes.copyWithin(offset - TAG_BYTES, offset, offset + ADDRESS_BYTES);
  put16(bytes, offset - TAG_BYTES + ADDRESS_BYTES, type);
  put16(bytes, offset - TAG_BYTES + ADDRESS_BYTES + 2, vlan);
}

/** Fills a frame up to what Ethernet needs; there is room behind it. Returns its length. */
export function pad(bytes: Uint8Array, offset: number, length: number): number {
  if (length >= FRAME_LEAST) return length;
  bytes.fill(0, offset + length, offset + FRAME_LEAST);
  return FRAME_LEAST;
}

/** A legacy descriptor's checksum: the sum from `start` on, put at `at`; both of the frame. */
export function insertSum(
  bytes: Uint8Array,
  offset: number,
  length: number,
  start: number,
  at: number,
): void {
  if (start >= length || at + 2 > length) return;
  put16(bytes, offset + at, ~sum(bytes, offset + start, length - start, 0));
}

/**
 * The checksums of a frame that is sent as it is. The driver has put the pseudo header's sum where
 * the checksum goes; what the context says lies outside the frame is left undone.
 */
export function insertSums(
  bytes: Uint8Array,
  offset: number,
  length: number,
  context: TxContext,
  options: number,
): void {
  const ip = context.macBytes;
  const transport = ip + context.ipBytes;
  if ((options & TxOptions.IP_CHECKSUM) !== 0) insertIpSum(bytes, offset, length, context);
  if ((options & TxOptions.L4_CHECKSUM) === 0) return;
  if (context.protocol === ContextType.SCTP) {
    insertCrc(bytes, offset + transport, length - transport);
    return;
  }
  const isUdp = context.protocol === ContextType.UDP;
  const at = transport + (isUdp ? CHECKSUM_AT.udp : CHECKSUM_AT.tcp);
  if (at + 2 > length) return;
  putSum(bytes, offset + at, sum(bytes, offset + transport, length - transport, 0), isUdp);
}

function insertIpSum(bytes: Uint8Array, offset: number, length: number, context: TxContext): void {
  const ip = offset + context.macBytes;
  const { ipBytes } = context;
  if (ipBytes < 20 || context.macBytes + ipBytes > length) return;
  put16(bytes, ip + 10, 0);
  put16(bytes, ip + 10, ~sum(bytes, ip, ipBytes, 0));
}

/** Takes each segment: [offset, offset + length) of the target. */
export interface SegmentSink {
  /** Room for a frame of this length; its offset. May hand on what is there first. */
  reserve(length: number): number;
  readonly target: Uint8Array;
  emit(offset: number, length: number): void;
}

/** Whether a packet can be cut as the context says. */
export function isSegmentable(length: number, context: TxContext): boolean {
  const headers = context.macBytes + context.ipBytes + context.transportBytes;
  const payload = length - headers;
  const isUdp = context.protocol === ContextType.UDP;
  return (
    context.protocol !== ContextType.SCTP &&
    context.macBytes >= MAC_BYTES &&
    context.ipBytes >= (context.isIpv4 ? 20 : 40) &&
    context.transportBytes >= (isUdp ? 8 : 20) &&
    context.segmentBytes > 0 &&
    payload > 0 &&
    payload <= context.segmentBytes * SEGMENTS_MOST
  );
}

/** Cuts the packet at `offset` to segments, each with headers of its own (7.2.4). */
export function segment(
  source: Uint8Array,
  offset: number,
  length: number,
  context: TxContext,
  options: number,
  sink: SegmentSink,
): void {
  const { macBytes, ipBytes, transportBytes, segmentBytes, isIpv4 } = context;
  const headers = macBytes + ipBytes + transportBytes;
  const isUdp = context.protocol === ContextType.UDP;
  const last = length - headers;
  for (let done = 0, index = 0; done < last; done += segmentBytes, index++) {
    const payload = Math.min(segmentBytes, last - done);
    const at = sink.reserve(headers + payload);
    const { target } = sink;
    target.set(source.subarray(offset, offset + headers), at);
    const from = offset + headers + done;
    target.set(source.subarray(from, from + payload), at + headers);
    const ip = at + macBytes;
    const transport = ip + ipBytes;
    if (isIpv4) {
      put16(target, ip + 2, ipBytes + transportBytes + payload);
      put16(target, ip + 4, get16(target, ip + 4) + index);
      if ((options & TxOptions.IP_CHECKSUM) !== 0)
        insertIpSum(target, at, headers + payload, context);
    } else put16(target, ip + 4, ipBytes - 40 + transportBytes + payload);
    if (isUdp) put16(target, transport + 4, transportBytes + payload);
    else {
      const sequence = get16(target, transport + 4) * 0x10000 + get16(target, transport + 6) + done;
      put16(target, transport + 4, (sequence / 0x10000) & 0xffff);
      put16(target, transport + 6, sequence);
      if (index > 0) target[transport + FLAGS]! &= ~ONLY_FIRST;
      if (done + payload < last) target[transport + FLAGS]! &= ~ONLY_LAST;
    }
    if ((options & TxOptions.L4_CHECKSUM) !== 0) {
      // The driver's sum of the pseudo header leaves the length out, which differs by segment.
      const bytes = transportBytes + payload;
      const total = sum(target, transport, bytes, bytes);
      putSum(target, transport + (isUdp ? CHECKSUM_AT.udp : CHECKSUM_AT.tcp), total, isUdp);
    }
    sink.emit(at, headers + payload);
  }
}

/** A sum of 0 would mean that UDP has none. */
function putSum(bytes: Uint8Array, at: number, total: number, isUdp: boolean): void {
  const value = ~total & 0xffff;
  put16(bytes, at, value === 0 && isUdp ? 0xffff : value);
}

function get16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

/** CRC32c of each byte (RFC 9260, appendix A). */
const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ ((value & 1) * 0x82f63b78);
  return value;
});

/** SCTP's checksum over the packet at `offset`. */
function insertCrc(bytes: Uint8Array, offset: number, length: number): void {
  const at = offset + CHECKSUM_AT.sctp;
  if (length < CHECKSUM_AT.sctp + 4) return;
  bytes.fill(0, at, at + 4);
  let crc = 0xffffffff;
  for (let byte = 0; byte < length; byte++)
    crc = (crc >>> 8) ^ crcTable[(crc ^ bytes[offset + byte]!) & 0xff]!;
  for (let byte = 0; byte < 4; byte++) bytes[at + byte] = ~crc >>> (8 * byte);
}
