import { Bug } from '../../abi/bug.js';
import type { AllocateDma, DmaBuffer } from '../../mm/frame-memory.js';
import { BATCH_FRAMES, FRAME_MOST, HEADER_BYTES, STAGING_BYTES } from './limits.js';

const ALIGNMENT = 16;

/**
 * Frames on their way through the card, each behind its header in one buffer. Used again for each
 * batch.
 */
export class Frames {
  readonly buffer: DmaBuffer;
  count = 0;
  /** Where a frame's header begins, and its length without it. */
  readonly start = new Int32Array(BATCH_FRAMES);
  readonly length = new Int32Array(BATCH_FRAMES);
  private end = 0;
  private readonly words: Uint32Array;

  constructor(allocate: AllocateDma) {
    this.buffer = allocate(STAGING_BYTES);
    const { bytes } = this.buffer;
    this.words = new Uint32Array(bytes.buffer, bytes.byteOffset, STAGING_BYTES / 4);
  }

  clear(): void {
    this.count = 0;
    this.end = 0;
  }

  /** Another frame of any length fits. */
  get room(): boolean {
    return this.count < BATCH_FRAMES && this.end + HEADER_BYTES + FRAME_MOST <= STAGING_BYTES;
  }

  /** Where the bytes of the next frame go, behind its header. */
  get next(): number {
    return this.end + HEADER_BYTES;
  }

  /** Takes `length` bytes at `next` as a frame; its header is all zeros. */
  add(length: number): void {
    if (!this.room) throw new Bug('frame without room', { count: this.count, end: this.end });
    const index = this.count++;
    this.start[index] = this.end;
    this.length[index] = length;
    const first = this.end / 4;
    for (let word = 0; word < HEADER_BYTES / 4; word++) this.words[first + word] = 0;
    const end = this.end + HEADER_BYTES + length;
    this.end = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
  }
}
