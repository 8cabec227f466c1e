/** Blocks of one bitmap. */
const PART_BLOCKS = 32768;

/**
 * The blocks that Write Uncorrectable has spoiled: reading one is an error until it is written.
 * They are remembered in memory, a bit for each block of a part that has any.
 */
export class UncorrectableBlocks {
  private readonly parts = new Map<number, Uint8Array>();

  mark(first: number, count: number): void {
    for (let block = first; block < first + count; block++) {
      const number = Math.floor(block / PART_BLOCKS);
      let part = this.parts.get(number);
      if (part === undefined) {
        part = new Uint8Array(PART_BLOCKS / 8);
        this.parts.set(number, part);
      }
      const bit = block - number * PART_BLOCKS;
      part[bit >> 3]! |= 1 << (bit & 7);
    }
  }

  /** The blocks have been written. Hot while none is marked. */
  clear(first: number, count: number): void {
    if (this.parts.size === 0) return;
    const firstPart = Math.floor(first / PART_BLOCKS);
    const endPart = Math.ceil((first + count) / PART_BLOCKS);
    if (endPart - firstPart > this.parts.size) {
      for (const number of this.parts.keys()) this.clearPart(number, first, count);
    } else {
      for (let number = firstPart; number < endPart; number++) this.clearPart(number, first, count);
    }
  }

  private clearPart(number: number, first: number, count: number): void {
    const part = this.parts.get(number);
    const base = number * PART_BLOCKS;
    const from = Math.max(first - base, 0);
    const end = Math.min(first + count - base, PART_BLOCKS);
    if (part === undefined || from >= end) return;
    for (let bit = from; bit < end; bit++) part[bit >> 3]! &= ~(1 << (bit & 7));
    if (part.every((bits) => bits === 0)) this.parts.delete(number);
  }

  clearAll(): void {
    this.parts.clear();
  }

  /** Whether one of the blocks is marked. Hot while none is. */
  touches(first: number, count: number): boolean {
    if (this.parts.size === 0) return false;
    for (let block = first; block < first + count; block++) {
      const number = Math.floor(block / PART_BLOCKS);
      const bits = this.parts.get(number)?.[(block % PART_BLOCKS) >> 3] ?? 0;
      if ((bits & (1 << (block & 7))) !== 0) return true;
    }
    return false;
  }
}
