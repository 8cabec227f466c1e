import { Bug } from '../abi/bug.js';
import { PAGE_SIZE } from './address-space.js';

/**
 * Memory on the device's side of a DMA transfer: its bytes, and their native address where the run
 * has one (else 0).
 */
export interface DmaBuffer {
  readonly bytes: Uint8Array;
  readonly address: number;
  /**
   * Makes whole pages read as zeros and gives their memory back, where the run can do that; both in
   * bytes, page aligned.
   */
  discard?(offset: number, length: number): void;
}

/**
 * Makes zeroed device memory of this many bytes. A live run hands out memory at fixed native
 * addresses.
 */
export type AllocateDma = (bytes: number) => DmaBuffer;

/** Plain memory without a native address: for simulated runs and tests. */
export const allocatePlain: AllocateDma = (bytes) => ({ bytes: new Uint8Array(bytes), address: 0 });

/**
 * A list of transfers between frames and device memory, in order; reused, so that the path
 * allocates nothing. A segment may cover several consecutive frames; `append` merges neighbours.
 */
export class SegmentList {
  count = 0;
  /** Sum of all lengths, in bytes. */
  bytes = 0;
  /** The first so many may be under way at once (DmaList.together). */
  together = 0;
  readonly frame: Float64Array;
  readonly offset: Int32Array;
  readonly length: Float64Array;
  readonly buffer: (DmaBuffer | null)[];
  readonly bufferOffset: Float64Array;

  constructor(readonly capacity = 1024) {
    this.frame = new Float64Array(capacity);
    this.offset = new Int32Array(capacity);
    this.length = new Float64Array(capacity);
    this.buffer = new Array(capacity).fill(null);
    this.bufferOffset = new Float64Array(capacity);
  }

  clear(): void {
    this.count = 0;
    this.bytes = 0;
    this.together = 0;
  }

  get full(): boolean {
    return this.count === this.capacity;
  }

  /** Adds `length` bytes at `offset` of `frame`, from or to `bufferOffset` of `buffer`. */
  append(
    frame: number,
    offset: number,
    length: number,
    buffer: DmaBuffer,
    bufferOffset: number,
  ): void {
    const last = this.count - 1;
    this.bytes += length;
    if (last >= 0 && this.buffer[last] === buffer) {
      const lastLength = this.length[last]!;
      const contiguous =
        this.frame[last]! * PAGE_SIZE + this.offset[last]! + lastLength ===
        frame * PAGE_SIZE + offset;
      if (contiguous && this.bufferOffset[last]! + lastLength === bufferOffset) {
        this.length[last] = lastLength + length;
        return;
      }
    }
    if (this.count === this.capacity)
      throw new Bug('segment list overflow', { capacity: this.capacity });
    const next = this.count++;
    this.frame[next] = frame;
    this.offset[next] = offset;
    this.length[next] = length;
    this.buffer[next] = buffer;
    this.bufferOffset[next] = bufferOffset;
  }
}

/** The memory that frames name. What a translated DMA access reads or writes. */
export interface FrameMemory {
  /**
   * Copies frames to buffers in order; returns how many bytes went before the first that could not.
   */
  read(list: SegmentList): number;
  /**
   * Copies buffers to frames in order; returns how many bytes went before the first that could not.
   */
  write(list: SegmentList): number;
}
