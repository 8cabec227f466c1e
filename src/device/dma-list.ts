import { Bug } from '../abi/bug.js';
import { PAGE_SIZE } from '../mm/address-space.js';
import type { DmaBuffer } from '../mm/frame-memory.js';

/**
 * DMA that a device is about to do, in order: pieces between IOVAs and device memory, none of which
 * crosses a page. Reused, so that the path allocates nothing. The tag says whose piece it is (a
 * command), which names it when it is refused.
 */
export class DmaList {
  count = 0;
  /**
   * None of the first so many pieces waits for another: where each takes a message to another
   * process, they may be under way at once. Of a list that is written, what tells of the others is
   * not one of them.
   */
  together = 0;
  readonly page: Float64Array;
  readonly offset: Int32Array;
  readonly length: Int32Array;
  readonly buffer: (DmaBuffer | null)[];
  readonly bufferOffset: Int32Array;
  readonly tag: Int32Array;

  constructor(readonly capacity = 1024) {
    this.page = new Float64Array(capacity);
    this.offset = new Int32Array(capacity);
    this.length = new Int32Array(capacity);
    this.buffer = new Array(capacity).fill(null);
    this.bufferOffset = new Int32Array(capacity);
    this.tag = new Int32Array(capacity);
  }

  /** Pieces that still fit. */
  get room(): number {
    return this.capacity - this.count;
  }

  clear(): void {
    this.count = this.together = 0;
  }

  /** Adds `length` bytes at `offset` of IOVA page `page`, from or to `bufferOffset` of `buffer`. */
  append(
    page: number,
    offset: number,
    length: number,
    buffer: DmaBuffer,
    bufferOffset: number,
    tag: number,
  ): void {
    const next = this.count;
    if (next === this.capacity) throw new Bug('DMA list overflow', { capacity: this.capacity });
    if (offset + length > PAGE_SIZE)
      throw new Bug('DMA piece crosses a page', { page, offset, length });
    // Lengths come from programs: what a device did not check ends here, not in the engine's
    // memory.
    if (bufferOffset + length > buffer.bytes.length)
      throw new Bug('DMA beyond the device buffer', { bufferOffset, length });
    this.count = next + 1;
    this.page[next] = page;
    this.offset[next] = offset;
    this.length[next] = length;
    this.buffer[next] = buffer;
    this.bufferOffset[next] = bufferOffset;
    this.tag[next] = tag;
  }

  /** Adds [offset, offset + length) counted from the start of `page`, cut at the pages. */
  appendRange(
    page: number,
    offset: number,
    length: number,
    buffer: DmaBuffer,
    bufferOffset: number,
    tag: number,
  ): void {
    let at = offset;
    const end = offset + length;
    while (at < end) {
      const inPage = at % PAGE_SIZE;
      const piece = Math.min(PAGE_SIZE - inPage, end - at);
      this.append(
        page + (at - inPage) / PAGE_SIZE,
        inPage,
        piece,
        buffer,
        bufferOffset + at - offset,
        tag,
      );
      at += piece;
    }
  }
}
