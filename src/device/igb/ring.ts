import type { AllocateDma, DmaBuffer } from '../../mm/frame-memory.js';
import type { DmaPort } from '../dma-port.js';
import type { RegisterFile } from '../register-table.js';
import { BATCH } from './limits.js';
import { QUEUE_STRIDE, Reg } from './registers.js';

export const DESCRIPTOR_BYTES = 16;
const INDEX_MASK = 0xffff;
/** High halves of addresses end here: what lies beyond cannot be mapped. */
export const HIGH_END = 2 ** 20;

/** The registers of a queue of one kind, by their offsets of queue 0. */
export interface RingRegisters {
  readonly low: number;
  readonly high: number;
  readonly length: number;
  readonly head: number;
  readonly tail: number;
}
export const receiveRing: RingRegisters = {
  low: Reg.RDBAL,
  high: Reg.RDBAH,
  length: Reg.RDLEN,
  head: Reg.RDH,
  tail: Reg.RDT,
};
export const transmitRing: RingRegisters = {
  low: Reg.TDBAL,
  high: Reg.TDBAH,
  length: Reg.TDLEN,
  head: Reg.TDH,
  tail: Reg.TDT,
};

/**
 * A ring of descriptors in the program's memory: the card's are those from the head to before the
 * tail. A head or tail behind the ring's end leaves it none.
 */
export class Ring {
  /** Descriptors as they were fetched, from the head on. */
  readonly fetched: DmaBuffer;
  readonly view: DataView;
  /** How many of them there are, and how many have been used since. */
  private count = 0;
  private used = 0;
  /** A fetch was refused; nothing more is tried until the driver writes one of the registers. */
  private isBroken = false;
  private readonly shift: number;

  constructor(
    private readonly registers: RegisterFile,
    private readonly at: RingRegisters,
    readonly index: number,
    allocate: AllocateDma,
  ) {
    this.shift = index * QUEUE_STRIDE;
    this.fetched = allocate(BATCH * DESCRIPTOR_BYTES);
    const { bytes } = this.fetched;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** The driver has written one of the registers: what was fetched may be old. */
  forget(): void {
    this.count = 0;
    this.used = 0;
    this.isBroken = false;
  }

  /** The driver has written the tail: what was fetched stays the card's. */
  tailMoved(): void {
    this.isBroken = false;
  }

  get size(): number {
    return this.register(this.at.length) / DESCRIPTOR_BYTES;
  }

  /** Descriptors that are the card's. */
  get owned(): number {
    const { size } = this;
    const head = this.register(this.at.head);
    const tail = this.register(this.at.tail);
    if (head >= size || tail >= size || this.isBroken) return 0;
    return head <= tail ? tail - head : size - head + tail;
  }

  /** Where the head's descriptor is, in bytes of IOVA. */
  get address(): number {
    return this.base + this.register(this.at.head) * DESCRIPTOR_BYTES;
  }

  /** Fetched and not used yet; fetches where there are none. 0: there are none, or it is broken. */
  available(dma: DmaPort): number {
    if (this.used < this.count) return this.count - this.used;
    this.used = 0;
    this.count = 0;
    const count = Math.min(this.owned, BATCH);
    if (count === 0) return 0;
    const untilEnd = Math.min(count, this.size - this.register(this.at.head));
    const first = untilEnd * DESCRIPTOR_BYTES;
    const rest = (count - untilEnd) * DESCRIPTOR_BYTES;
    const isFetched =
      this.register(this.at.high) < HIGH_END &&
      dma.readRange(this.address, first, this.fetched) &&
      (rest === 0 || dma.readRange(this.base, rest, this.fetched, first));
    if (isFetched) this.count = count;
    else this.isBroken = true;
    return this.count;
  }

  /** Where the head's descriptor is in `fetched`. */
  get current(): number {
    return this.used * DESCRIPTOR_BYTES;
  }

  /** The head's descriptor is used. */
  advance(): void {
    this.used++;
    const next = this.register(this.at.head) + 1;
    this.registers.set(this.at.head + this.shift, (next >= this.size ? 0 : next) & INDEX_MASK);
  }

  private get base(): number {
    return this.register(this.at.high) * 2 ** 32 + this.register(this.at.low);
  }

  private register(offset: number): number {
    return this.registers.get(offset + this.shift);
  }
}

/** An address in a descriptor, in bytes of IOVA; beyond what can be mapped: -1. */
export function addressAt(view: DataView, offset: number): number {
  const high = view.getUint32(offset + 4, true);
  return high >= HIGH_END ? -1 : high * 2 ** 32 + view.getUint32(offset, true);
}
