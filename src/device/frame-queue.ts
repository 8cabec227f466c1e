import type { DmaBuffer } from '../mm/frame-memory.js';

/** Frames, and bytes of them, that wait at most. */
const FRAMES = 4096;
export const QUEUE_BYTES = 2 ** 22;

/** Ethernet frames that wait, in a ring of QUEUE_BYTES bytes, each in one piece. */
export class FrameQueue {
  private readonly starts = new Int32Array(FRAMES);
  private readonly lengths = new Int32Array(FRAMES);
  private readonly dues = new Float64Array(FRAMES);
  private first = 0;
  private count = 0;

  constructor(private readonly bytes: Uint8Array) {}

  get isEmpty(): boolean {
    return this.count === 0;
  }

  /** Where the oldest frame lies. */
  get start(): number {
    return this.starts[this.first]!;
  }

  get length(): number {
    return this.lengths[this.first]!;
  }

  /** When the oldest frame is to go on, as `push` was told. */
  get due(): number {
    return this.dues[this.first]!;
  }

  /** Adds a copy of a frame. False: there is no room for it. */
  push(buffer: DmaBuffer, offset: number, length: number, due = 0): boolean {
    const start = this.roomFor(length);
    if (start < 0) return false;
    this.bytes.set(buffer.bytes.subarray(offset, offset + length), start);
    const slot = (this.first + this.count) % FRAMES;
    this.starts[slot] = start;
    this.lengths[slot] = length;
    this.dues[slot] = due;
    this.count++;
    return true;
  }

  /** Drops the oldest frame. */
  shift(): void {
    this.first = (this.first + 1) % FRAMES;
    this.count--;
  }

  /** Where a frame goes: behind the last one, or at the start; -1: nowhere. */
  private roomFor(length: number): number {
    if (this.count === 0) return length <= QUEUE_BYTES ? 0 : -1;
    if (this.count === FRAMES) return -1;
    const last = (this.first + this.count - 1) % FRAMES;
    const end = this.starts[last]! + this.lengths[last]!;
    const oldest = this.starts[this.first]!;
    if (end > oldest) {
      if (end + length <= QUEUE_BYTES) return end;
      return length < oldest ? 0 : -1;
    }
    return end + length < oldest ? end : -1;
  }
}
