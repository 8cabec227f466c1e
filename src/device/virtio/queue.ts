import type { AllocateDma, DmaBuffer } from '../../mm/frame-memory.js';
import type { DmaList } from '../dma-list.js';
import { NO_VECTOR } from './registers.js';

/** Entries of a queue at most; what the driver finds in queue_size. */
export const QUEUE_ENTRIES = 256;

/** Bytes of a descriptor and of a used ring's element. */
export const DESCRIPTOR_BYTES = 16;
const USED_BYTES = 8;
/** VIRTQ_AVAIL_F_NO_INTERRUPT (2.7.6) and VIRTQ_USED_F_NO_NOTIFY (2.7.8). */
const NO_INTERRUPT = 1;
const NO_NOTIFY = 1;
const INDEX_MASK = 0xffff;

/** The device's copies of a queue's parts, bytes of one buffer. */
const Copy = {
  /** flags, idx. */
  AVAILABLE: 0,
  /** The used ring's flags and idx. */
  USED: 8,
  AVAILABLE_EVENT: 16,
  /** The available ring and used_event behind it. */
  RING: 64,
  TABLE: 1024,
  ELEMENTS: 1024 + QUEUE_ENTRIES * DESCRIPTOR_BYTES,
  SIZE: 1024 + QUEUE_ENTRIES * (DESCRIPTOR_BYTES + USED_BYTES),
} as const;

/** Words of `VirtQueue.addresses`: low and high halves of each address. */
export const QueueAddress = { DESCRIPTORS: 0, DRIVER: 2, DEVICE: 4 } as const;

/**
 * A split virtqueue (2.7): what the driver has set up, and how far the device is.
 *
 * A *look* copies the available ring and then the whole descriptor table, in one call with whatever
 * else is in its list; so every buffer that the ring's index covers has its descriptors in the
 * copy, also on weakly ordered processors: each is a segment of its own (`mm/process/memory.ts`
 * says what keeps those in order). So is the index of the used ring behind its elements, and a look
 * behind both, which reads what the driver wants to be told of. Indexes count modulo 2^16.
 */
export class VirtQueue {
  // As the driver has set it up.
  size = QUEUE_ENTRIES;
  enabled = false;
  vector = NO_VECTOR;
  readonly addresses = new Uint32Array(6);
  /** Features that bear on queues, as negotiated. */
  eventIndex = false;
  indirect = false;

  /**
   * The driver may have made buffers available since the last look, or waits for what a look
   * decides.
   */
  active = false;
  /** The driver need not tell of new buffers, ever. */
  quiet = false;
  /** Descriptors of the last look, four words each. */
  readonly table: Uint32Array;
  /** Next buffer to take, and the end of those that the last look found. */
  private next = 0;
  private available = 0;
  /** End of the used ring: as written by `appendUsed`, and with what was pushed since. */
  private written = 0;
  private used = 0;
  /** End of the used ring when it was last decided whether to interrupt. */
  private decided = 0;
  private readonly buffer: DmaBuffer;
  private readonly shorts: Uint16Array;
  private readonly words: Uint32Array;

  constructor(
    readonly index: number,
    allocate: AllocateDma,
  ) {
    const buffer = allocate(Copy.SIZE);
    const { bytes } = buffer;
    this.buffer = buffer;
    this.shorts = new Uint16Array(bytes.buffer, bytes.byteOffset, Copy.SIZE / 2);
    this.words = new Uint32Array(bytes.buffer, bytes.byteOffset, Copy.SIZE / 4);
    this.table = this.words.subarray(
      Copy.TABLE / 4,
      (Copy.TABLE + QUEUE_ENTRIES * DESCRIPTOR_BYTES) / 4,
    );
  }

  reset(): void {
    this.size = QUEUE_ENTRIES;
    this.enabled = false;
    this.vector = NO_VECTOR;
    this.addresses.fill(0);
    this.active = false;
    this.next = this.available = this.written = this.used = this.decided = 0;
  }

  /** Whether the rings lie where they may (2.7: alignments of 16, 2 and 4). */
  get aligned(): boolean {
    const { DESCRIPTORS, DRIVER, DEVICE } = QueueAddress;
    const low = this.addresses;
    return (low[DESCRIPTORS]! & 15) === 0 && (low[DRIVER]! & 1) === 0 && (low[DEVICE]! & 3) === 0;
  }

  /** The address of the available ring. */
  get driverArea(): number {
    return (
      this.addresses[QueueAddress.DRIVER + 1]! * 2 ** 32 + this.addresses[QueueAddress.DRIVER]!
    );
  }

  /** Buffers that the last poll found and that have not been taken. */
  get waiting(): number {
    return (this.available - this.next) & INDEX_MASK;
  }

  /** Buffers were used and the driver may want to hear of it: a look decides. */
  get undecided(): boolean {
    return this.decided !== this.written;
  }

  /** Adds what a look copies. */
  appendLook(list: DmaList): void {
    const { DESCRIPTORS, DRIVER } = QueueAddress;
    this.append(list, DRIVER, 0, 4, Copy.AVAILABLE);
    // With used_event behind the ring.
    this.append(list, DRIVER, 4, this.size * 2 + 2, Copy.RING);
    this.append(list, DESCRIPTORS, 0, this.size * DESCRIPTOR_BYTES, Copy.TABLE);
  }

  /**
   * Takes what a look has copied; false: the driver has made more buffers available than the queue
   * has entries.
   */
  looked(): boolean {
    this.available = this.shorts[Copy.AVAILABLE / 2 + 1]!;
    return this.waiting <= this.size;
  }

  /**
   * After a look: whether the driver wants an interrupt for what was used since the last time
   * (2.7.7, 2.7.10).
   */
  takeInterrupt(): boolean {
    const before = this.decided;
    const now = this.written;
    if (before === now) return false;
    this.decided = now;
    if (!this.eventIndex) return (this.shorts[Copy.AVAILABLE / 2]! & NO_INTERRUPT) === 0;
    const event = this.shorts[Copy.RING / 2 + this.size]!;
    return ((now - event - 1) & INDEX_MASK) < ((now - before) & INDEX_MASK);
  }

  /** No interrupt is to be sent for what was used so far. */
  skipInterrupt(): void {
    this.decided = this.written;
  }

  /** Head of the buffer that is taken next; there must be one. Any 16 bits. */
  get head(): number {
    return this.headAt(0);
  }

  /** Head of the `ahead`-th buffer behind the next one. */
  headAt(ahead: number): number {
    return this.shorts[Copy.RING / 2 + ((this.next + ahead) & (this.size - 1))]!;
  }

  /** Takes the next buffer. */
  take(): void {
    this.next = (this.next + 1) & INDEX_MASK;
  }

  /**
   * Gives a buffer back with `length` bytes written to it; the driver sees it after `appendUsed`.
   */
  push(head: number, length: number): void {
    const at = Copy.ELEMENTS / 4 + (this.used & (this.size - 1)) * 2;
    this.words[at] = head;
    this.words[at + 1] = length;
    this.used = (this.used + 1) & INDEX_MASK;
  }

  /** Undoes the last `count` takes and pushes. */
  undo(count: number): void {
    this.next = (this.next - count) & INDEX_MASK;
    this.used = (this.used - count) & INDEX_MASK;
  }

  /** Adds the writes that show the driver what was pushed: elements, then the index. */
  appendUsed(list: DmaList): void {
    const count = (this.used - this.written) & INDEX_MASK;
    if (count === 0) return;
    const first = this.written & (this.size - 1);
    const run = Math.min(count, this.size - first);
    this.appendElements(list, first, run);
    if (count > run) this.appendElements(list, 0, count - run);
    this.written = this.used;
    this.shorts[Copy.USED / 2] = this.quiet ? NO_NOTIFY : 0;
    this.shorts[Copy.USED / 2 + 1] = this.used;
    this.append(list, QueueAddress.DEVICE, 0, 4, Copy.USED);
    if (!this.eventIndex || this.quiet) return;
    // avail_event: the driver notifies of the first buffer that the device has not taken.
    this.shorts[Copy.AVAILABLE_EVENT / 2] = this.next;
    this.append(list, QueueAddress.DEVICE, 4 + this.size * USED_BYTES, 2, Copy.AVAILABLE_EVENT);
  }

  /** Adds all that `appendUsed` may write, from wherever in the copy. */
  appendUsedRing(list: DmaList): void {
    this.append(list, QueueAddress.DEVICE, 0, 6 + this.size * USED_BYTES, 0);
  }

  private appendElements(list: DmaList, first: number, count: number): void {
    const at = first * USED_BYTES;
    this.append(list, QueueAddress.DEVICE, 4 + at, count * USED_BYTES, Copy.ELEMENTS + at);
  }

  /** Adds `length` bytes at `offset` of one of the queue's areas. */
  private append(
    list: DmaList,
    address: number,
    offset: number,
    length: number,
    copy: number,
  ): void {
    const low = this.addresses[address]!;
    const page = this.addresses[address + 1]! * 2 ** 20 + (low >>> 12);
    list.appendRange(page, (low & 0xfff) + offset, length, this.buffer, copy, 0);
  }
}
