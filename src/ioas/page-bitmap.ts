/**
 * Which pages of a mapping have some property: sparse, and quick over runs (R3.4).
 *
 * Terms: a *chunk* is 32,768 pages (4 KiB of bits) and is made when its first page is set; a
 * mapping of up to 32 pages has a single *word* instead. Indexes count from the mapping's first
 * page.
 */
const CHUNK_PAGES = 32_768;
const NONE: readonly (Uint32Array | null)[] = [];

export class PageBitmap {
  /** Pages set. */
  count = 0;
  private chunks: (Uint32Array | null)[] = NONE as (Uint32Array | null)[];
  private word = 0;

  /** @param pages how many pages there are */
  constructor(readonly pages: number) {}

  test(page: number): boolean {
    if (this.count === 0) return false;
    if (this.pages <= 32) return (this.word & (1 << page)) !== 0;
    const chunk = this.chunks[Math.floor(page / CHUNK_PAGES)];
    if (chunk === undefined || chunk === null) return false;
    const bit = page % CHUNK_PAGES;
    return (chunk[bit >>> 5]! & (1 << (bit & 31))) !== 0;
  }

  /** Sets [page, page + count); returns how many were not set. */
  set(page: number, count: number): number {
    const before = this.count;
    const end = page + count;
    if (this.pages <= 32) {
      if (count > 0) this.word |= wordMask(page, end);
      this.count = popCount(this.word);
      return this.count - before;
    }
    for (let at = page; at < end; ) {
      const index = Math.floor(at / CHUNK_PAGES);
      const chunk = this.chunkFor(index);
      const base = index * CHUNK_PAGES;
      const stop = Math.min(end, base + CHUNK_PAGES) - base;
      for (let bit = at - base; bit < stop; ) {
        const mask = wordMask(bit, stop);
        const word = chunk[bit >>> 5]!;
        this.count += popCount(mask & ~word);
        chunk[bit >>> 5] = word | mask;
        bit = (bit | 31) + 1;
      }
      at = base + CHUNK_PAGES;
    }
    return this.count - before;
  }

  /** Clears [page, page + count); returns how many were set. Allocates nothing. */
  clear(page: number, count: number): number {
    if (this.count === 0) return 0;
    const before = this.count;
    const end = page + count;
    if (this.pages <= 32) {
      if (count > 0) this.word &= ~wordMask(page, end);
      this.count = popCount(this.word);
      return before - this.count;
    }
    for (let at = page; at < end; ) {
      const index = Math.floor(at / CHUNK_PAGES);
      const base = index * CHUNK_PAGES;
      const chunk = this.chunks[index];
      if (chunk !== undefined && chunk !== null) {
        const stop = Math.min(end, base + CHUNK_PAGES, base + chunk.length * 32) - base;
        for (let bit = at - base; bit < stop; ) {
          const mask = wordMask(bit, stop);
          const word = chunk[bit >>> 5]!;
          this.count -= popCount(mask & word);
          chunk[bit >>> 5] = word & ~mask;
          bit = (bit | 31) + 1;
        }
      }
      at = base + CHUNK_PAGES;
    }
    return before - this.count;
  }

  /** The first page set at or after `page` and below `end`, else `end`. */
  nextSet(page: number, end: number): number {
    if (this.count === 0) return end;
    if (this.pages <= 32) return nextBit(this.word, page, end);
    for (let at = page; at < end; ) {
      const index = Math.floor(at / CHUNK_PAGES);
      const base = index * CHUNK_PAGES;
      const chunk = this.chunks[index];
      if (chunk !== undefined && chunk !== null) {
        const found = findBit(chunk, at - base, Math.min(end - base, chunk.length * 32), 0);
        if (found >= 0) return base + found;
      }
      at = base + CHUNK_PAGES;
    }
    return end;
  }

  /** The first page not set at or after `page` and below `end`, else `end`. */
  nextClear(page: number, end: number): number {
    if (this.pages <= 32) return nextBit(~this.word, page, end);
    for (let at = page; at < end; ) {
      const index = Math.floor(at / CHUNK_PAGES);
      const base = index * CHUNK_PAGES;
      const chunk = this.chunks[index];
      if (chunk === undefined || chunk === null) return at;
      const found = findBit(chunk, at - base, Math.min(end - base, chunk.length * 32), -1);
      if (found >= 0) return base + found;
      at = base + CHUNK_PAGES;
    }
    return end;
  }

  /** How many of [page, end) are set. */
  countIn(page: number, end: number): number {
    if (this.count === 0 || page >= end) return 0;
    if (this.pages <= 32) return popCount(this.word & wordMask(page, end));
    let count = 0;
    for (let at = page; at < end; ) {
      const index = Math.floor(at / CHUNK_PAGES);
      const base = index * CHUNK_PAGES;
      const chunk = this.chunks[index];
      if (chunk !== undefined && chunk !== null) {
        const stop = Math.min(end - base, chunk.length * 32);
        for (let bit = at - base; bit < stop; bit = (bit | 31) + 1)
          count += popCount(chunk[bit >>> 5]! & wordMask(bit, stop));
      }
      at = base + CHUNK_PAGES;
    }
    return count;
  }

  private chunkFor(index: number): Uint32Array {
    if (this.chunks === NONE) {
      this.chunks = new Array(Math.ceil(this.pages / CHUNK_PAGES)).fill(null);
    }
    let chunk = this.chunks[index]!;
    if (chunk === null) {
      const pages = Math.min(CHUNK_PAGES, this.pages - index * CHUNK_PAGES);
      chunk = new Uint32Array(Math.ceil(pages / 32));
      this.chunks[index] = chunk;
    }
    return chunk;
  }
}

/** The first bit of a word in [from, end) that is set, else `end`. */
function nextBit(word: number, from: number, end: number): number {
  if (from >= end) return end;
  const found = word & wordMask(from, end);
  return found === 0 ? end : 31 - Math.clz32(found & -found);
}

/**
 * The first bit in [from, end) that is set in `word ^ flip`, a word at a time; -1 where there is
 * none.
 */
function findBit(chunk: Uint32Array, from: number, end: number, flip: number): number {
  for (let bit = from; bit < end; bit = (bit | 31) + 1) {
    const word = (chunk[bit >>> 5]! ^ flip) & wordMask(bit, end);
    if (word !== 0) return (bit & ~31) + 31 - Math.clz32(word & -word);
  }
  return -1;
}

/** The bits of the word of `bit` from `bit` on and below `end`. */
function wordMask(bit: number, end: number): number {
  const low = -1 << (bit & 31);
  const left = end - (bit & ~31);
  return left >= 32 ? low : low & ~(-1 << left);
}

function popCount(word: number): number {
  let n = word - ((word >>> 1) & 0x55555555);
  n = (n & 0x33333333) + ((n >>> 2) & 0x33333333);
  return Math.imul((n + (n >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
