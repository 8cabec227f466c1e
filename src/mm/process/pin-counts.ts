const CHUNK_PAGES = 32_768;

/** How often each page of a process is pinned, so that reclaim leaves those alone which are. */
export class PinCounts {
  private readonly chunks = new Map<number, Uint32Array>();

  add(page: number, pins: number): void {
    const index = Math.floor(page / CHUNK_PAGES);
    let chunk = this.chunks.get(index);
    if (chunk === undefined) {
      chunk = new Uint32Array(CHUNK_PAGES);
      this.chunks.set(index, chunk);
    }
    chunk[page % CHUNK_PAGES]! += pins;
  }

  of(page: number): number {
    return this.chunks.get(Math.floor(page / CHUNK_PAGES))?.[page % CHUNK_PAGES] ?? 0;
  }

  /** The first page in [page, end) that is pinned, or that is not; `end` where there is none. */
  next(isPinned: boolean, page: number, end: number): number {
    for (let at = page; at < end; ) {
      const chunk = this.chunks.get(Math.floor(at / CHUNK_PAGES));
      const stop = Math.min(end, at - (at % CHUNK_PAGES) + CHUNK_PAGES);
      if (chunk === undefined) {
        if (!isPinned) return at;
        at = stop;
      }
      for (; chunk !== undefined && at < stop; at++)
        if ((chunk[at % CHUNK_PAGES] !== 0) === isPinned) return at;
    }
    return end;
  }
}
