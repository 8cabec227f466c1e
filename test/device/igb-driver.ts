/** A program's side of an 82576: rings in its memory, and frames through them. */
import { igb } from '../../src/device/igb/kind.js';
import type { PciFunction } from '../../src/vfio/pci-function.js';
import { command, Program, type ProgramOptions, read32, write32 } from './program.js';

export const MAC = [0x52, 0x54, 0, 0, 0, 1];
/** Descriptors of each ring. */
export const RING = 64;
export const BUFFER_BYTES = 2048;
export const TX_RINGS = 0x10000;
export const RX_RINGS = 0x20000;
export const TX_DATA = 0x100000;
export const RX_DATA = 0x200000;
/** A queue's part of each of these. */
const QUEUE_RING = 0x1000;
const QUEUE_DATA = 0x40000;

const END = 0x01000000;
const REPORT = 0x08000000;
const EXTENDED = 0x20000000;

export interface Received {
  readonly bytes: Uint8Array;
  readonly status: number;
  /** The first two words as they were written back. */
  readonly info: number;
  readonly hash: number;
  readonly vlan: number;
}

export class IgbDriver {
  readonly program: Program;
  readonly card: PciFunction;
  private readonly view: DataView;
  private readonly txTail = new Array(16).fill(0);
  private readonly rxNext = new Array(16).fill(0);
  private txData = TX_DATA;

  constructor(options: Record<string, string> = {}, program: ProgramOptions | Program = {}) {
    this.program = program instanceof Program ? program : new Program({ pages: 4096, ...program });
    const { bytes } = this.program.memory;
    this.view = new DataView(bytes.buffer);
    this.card = igb.create({ mac: '52:54:00:00:00:01', ...options }, this.program.surroundings);
    this.card.open(this.program.sink);
    command(this.card, 6);
  }

  read(offset: number): number {
    return read32(this.card, 0, offset);
  }

  write(offset: number, value: number): void {
    write32(this.card, 0, offset, value);
  }

  /** Link up, receiver (with these bits of RCTL beside) and transmitter on, one queue of each. */
  start(rctl = 0, { srrctl = 0x02000002, queues = 1 } = {}): this {
    this.write(0x20, 0x04201340);
    for (let queue = 0; queue < queues; queue++) this.startQueue(queue, srrctl);
    this.write(0x100, 0x00008002 | rctl);
    this.write(0x400, 0x0103f0fa);
    return this;
  }

  startQueue(queue: number, srrctl: number): void {
    const { program } = this;
    for (let slot = 0; slot < RING; slot++) this.giveBuffer(queue, slot);
    for (const [base, ring] of [
      [0xc000, RX_RINGS],
      [0xe000, TX_RINGS],
    ] as const) {
      const at = base + 0x40 * queue;
      this.write(at, program.iova(ring + queue * QUEUE_RING));
      this.write(at + 4, 0);
      this.write(at + 8, RING * 16);
      if (base === 0xc000) this.write(at + 0xc, srrctl);
      this.write(at + 0x28, 0x02010808);
    }
    this.write(0xc018 + 0x40 * queue, RING - 1);
  }

  /** After a reset of the card: rings begin at their starts. */
  rewind(): void {
    this.txTail.fill(0);
    this.rxNext.fill(0);
  }

  /** A receive descriptor as the driver gives it. */
  giveBuffer(queue: number, slot: number): void {
    const at = RX_RINGS + queue * QUEUE_RING + slot * 16;
    const data = RX_DATA + queue * QUEUE_DATA + slot * BUFFER_BYTES * 2;
    this.view.setUint32(at, this.program.iova(data), true);
    this.view.setUint32(at + 4, 0, true);
    this.view.setUint32(at + 8, this.program.iova(data + BUFFER_BYTES), true);
    this.view.setUint32(at + 12, 0, true);
  }

  /** Puts a descriptor of four words at the tail; `ring` tells the card. */
  describe(words: readonly number[], queue = 0): void {
    const at = TX_RINGS + queue * QUEUE_RING + this.txTail[queue] * 16;
    for (const [index, word] of words.entries()) this.view.setUint32(at + 4 * index, word, true);
    this.txTail[queue] = (this.txTail[queue] + 1) % RING;
  }

  ring(queue = 0): void {
    this.write(0xe018 + 0x40 * queue, this.txTail[queue]);
  }

  /** Puts a descriptor at the tail, and moves the tail. */
  descriptor(words: readonly number[], queue = 0): void {
    this.describe(words, queue);
    this.ring(queue);
  }

  /** Sends a frame in buffers of these lengths (one, unless given). */
  send(
    frame: Uint8Array,
    { command: bits = 0, options = 0, pieces = [frame.length], queue = 0 } = {},
  ) {
    const { program } = this;
    let done = 0;
    pieces.forEach((length, index) => {
      const at = this.place(frame.subarray(done, done + length));
      done += length;
      const isLast = index === pieces.length - 1;
      const type = EXTENDED | 0x00300000 | 0x02000000 | bits | (isLast ? END | REPORT : 0);
      this.descriptor([program.iova(at), 0, (type | length) >>> 0, options], queue);
    });
    this.settle();
  }

  /** Puts bytes into the program's memory; returns where. */
  place(bytes: Uint8Array): number {
    const at = this.txData;
    this.program.memory.bytes.set(bytes, at);
    this.txData = TX_DATA + ((at + bytes.length + 64 - TX_DATA) % 0x80000);
    return at;
  }

  /** The card does what there is to do. */
  settle(): void {
    while (this.card.poll());
  }

  /** Frames that have come on a queue since the last look; their buffers are given back. */
  receive(queue = 0, bufferBytes = BUFFER_BYTES): Received[] {
    const frames: Received[] = [];
    let parts: Uint8Array[] = [];
    for (;;) {
      const slot = this.rxNext[queue];
      const at = RX_RINGS + queue * QUEUE_RING + slot * 16;
      const status = this.view.getUint32(at + 8, true);
      const length = this.view.getUint16(at + 12, true);
      const data = RX_DATA + queue * QUEUE_DATA + slot * BUFFER_BYTES * 2;
      // The word of the status is the header buffer's address until it is written back.
      if (status === this.program.iova(data + BUFFER_BYTES)) return frames;
      parts.push(this.program.memory.bytes.slice(data, data + Math.min(length, bufferBytes)));
      if ((status & 2) !== 0) {
        frames.push({
          bytes: Buffer.concat(parts),
          status,
          info: this.view.getUint32(at, true),
          hash: this.view.getUint32(at + 4, true),
          vlan: this.view.getUint16(at + 14, true),
        });
        parts = [];
      }
      this.giveBuffer(queue, slot);
      this.rxNext[queue] = (slot + 1) % RING;
      this.write(0xc018 + 0x40 * queue, slot);
    }
  }

  /** The header buffer of a slot. */
  headerBuffer(slot: number, length: number): Uint8Array {
    const at = RX_DATA + slot * BUFFER_BYTES * 2 + BUFFER_BYTES;
    return this.program.memory.bytes.slice(at, at + length);
  }
}

/** A frame to the card's own address, of a type that is nothing in particular. */
export function plainFrame(length: number, seed = 1): Uint8Array {
  const frame = Uint8Array.from({ length }, (_, index) => (index * seed + 7) & 0xff);
  frame.set([...MAC, 2, 0, 0, 0, 0, 9, 0x88, 0xb5]);
  return frame;
}

/** An IPv4 packet of this protocol; checksums are as given, zero unless `right`. */
export function ipFrame(
  protocol: 'tcp' | 'udp',
  payload: number,
  { pseudo = false, withLength = true, id = 0x1234 } = {},
): Uint8Array {
  const headerBytes = protocol === 'tcp' ? 20 : 8;
  const frame = plainFrame(34 + headerBytes + payload, 3);
  const view = new DataView(frame.buffer);
  view.setUint16(12, 0x0800);
  frame.set([0x45, 0], 14);
  view.setUint16(16, 20 + headerBytes + payload);
  view.setUint16(18, id);
  view.setUint16(20, 0x4000);
  frame.set([64, protocol === 'tcp' ? 6 : 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], 22);
  view.setUint16(34, 1234);
  view.setUint16(36, 5678);
  const checksum = protocol === 'tcp' ? 50 : 40;
  if (protocol === 'tcp') {
    view.setUint32(38, 0xfffffff0);
    view.setUint32(42, 0);
    frame.set([0x50, 0x19, 0xff, 0xff, 0, 0, 0, 0], 46);
  } else {
    view.setUint16(38, headerBytes + payload);
    view.setUint16(40, 0);
  }
  if (pseudo) {
    const length = withLength ? headerBytes + payload : 0;
    view.setUint16(checksum, foldedSum(frame, 26, 8, frame[23]! + length));
  }
  return frame;
}

/** The Internet's sum. */
export function foldedSum(bytes: Uint8Array, offset: number, length: number, start = 0): number {
  let total = start;
  for (let at = 0; at < length; at++) total += bytes[offset + at]! * (at % 2 === 0 ? 256 : 1);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}

/** Whether an IPv4 packet's checksums are both right. */
export function sumsAreRight(frame: Uint8Array): boolean {
  const length = ((frame[16]! << 8) | frame[17]!) - 20;
  const ip = foldedSum(frame, 14, 20);
  const transport = foldedSum(frame, 34, length, foldedSum(frame, 26, 8, frame[23]! + length));
  return ip === 0xffff && transport === 0xffff;
}
