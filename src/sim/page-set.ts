const CHUNK_PAGES = 32_768;

/** A set of page numbers, sparse, quick where accesses stay near each other. */
export class PageSet {
  /** Pages in the set. */
  size = 0;
  private readonly chunks = new Map<number, Uint32Array>();
  private lastIndex = -1;
  private last: Uint32Array | null = null;

  has(page: number): boolean {
    const chunk = this.chunkAt(Math.floor(page / CHUNK_PAGES));
    if (chunk === null) return false;
    const bit = page % CHUNK_PAGES;
    return (chunk[bit >>> 5]! & (1 << (bit & 31))) !== 0;
  }

  add(page: number): void {
    const index = Math.floor(page / CHUNK_PAGES);
    let chunk = this.chunkAt(index);
    if (chunk === null) {
      chunk = new Uint32Array(CHUNK_PAGES / 32);
      this.chunks.set(index, chunk);
      this.last = chunk;
    }
    const bit = page % CHUNK_PAGES;
    const mask = 1 << (bit & 31);
    if ((chunk[bit >>> 5]! & mask) !== 0) return;
    chunk[bit >>> 5]! |= mask;
    this.size++;
  }

  /** Removes a page; whether it was there. */
  delete(page: number): boolean {
    const chunk = this.chunkAt(Math.floor(page / CHUNK_PAGES));
    if (chunk === null) return false;
    const bit = page % CHUNK_PAGES;
    const mask = 1 << (bit & 31);
    if ((chunk[bit >>> 5]! & mask) === 0) return false;
    chunk[bit >>> 5]! &= ~mask;
    this.size--;
    return true;
  }

  /** Removes [page, page + count); returns how many were there. */
  deleteRange(page: number, count: number): number {
    const before = this.size;
    const end = page + count;
    for (let at = page; at < end && this.size > 0; ) {
      const index = Math.floor(at / CHUNK_PAGES);
      const stop = Math.min(end, (index + 1) * CHUNK_PAGES);
      const chunk = this.chunkAt(index);
      if (chunk !== null) for (; at < stop; at++) this.delete(at);
      at = stop;
    }
    return before - this.size;
  }

  private chunkAt(index: number): Uint32Array | null {
    if (index === this.lastIndex) return this.last;
    this.lastIndex = index;
    this.last = this.chunks.get(index) ?? null;
    return this.last;
  }
}
