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
    this.walk(page, page + count, (at) => this.delete(at));
    return before - this.size;
  }

  /** Those of [first, end), in order. */
  pagesOf(first: number, end: number): number[] {
    const found: number[] = [];
    this.walk(first, end, (page) => found.push(page));
    return found.sort((a, b) => a - b);
  }

  /** Visits pages of [first, end) that are in the set: word by word, in chunks that there are. */
  private walk(first: number, end: number, visit: (page: number) => void): void {
    if (this.size === 0) return;
    const chunks = Math.ceil((end - first) / CHUNK_PAGES) + 1;
    const indices =
      chunks > this.chunks.size
        ? [...this.chunks.keys()]
        : Array.from({ length: chunks }, (_, at) => Math.floor(first / CHUNK_PAGES) + at);
    for (const index of indices) {
      const chunk = this.chunks.get(index);
      if (chunk === undefined) continue;
      const base = index * CHUNK_PAGES;
      const stop = Math.min(end - base, CHUNK_PAGES);
      for (let bit = Math.max(0, first - base); bit < stop; bit++) {
        if (chunk[bit >>> 5] === 0) bit |= 31;
        else if ((chunk[bit >>> 5]! & (1 << (bit & 31))) !== 0) visit(base + bit);
      }
    }
  }

  private chunkAt(index: number): Uint32Array | null {
    if (index === this.lastIndex) return this.last;
    this.lastIndex = index;
    this.last = this.chunks.get(index) ?? null;
    return this.last;
  }
}
