/**
 * A device's translation cache: direct-mapped, filled by page-table walks, emptied only by flushes.
 * A flush that is forgotten shows as an access through a translation that is gone.
 */
export class Iotlb {
  private readonly mask: number;
  private readonly page: Float64Array;
  private readonly frame: Float64Array;
  private readonly bits: Uint8Array;

  /** @param entries a power of two */
  constructor(readonly entries = 64) {
    this.mask = entries - 1;
    this.page = new Float64Array(entries).fill(-1);
    this.frame = new Float64Array(entries);
    this.bits = new Uint8Array(entries);
  }

  /** The cached frame of a page where all of `access` is allowed, else -1. */
  lookup(page: number, access: number): number {
    const slot = page & this.mask;
    if (this.page[slot] !== page || (this.bits[slot]! & access) !== access) return -1;
    return this.frame[slot]!;
  }

  /** Keeps what a walk found: the frame of a page for an access. */
  fill(page: number, frame: number, access: number): void {
    const slot = page & this.mask;
    if (this.page[slot] === page && this.frame[slot] === frame) {
      this.bits[slot]! |= access;
      return;
    }
    this.page[slot] = page;
    this.frame[slot] = frame;
    this.bits[slot] = access;
  }

  /** Forgets [page, page + count). */
  flush(page: number, count: number): void {
    if (count >= this.entries) {
      for (let slot = 0; slot < this.entries; slot++) {
        const cached = this.page[slot]!;
        if (cached >= page && cached < page + count) this.page[slot] = -1;
      }
      return;
    }
    for (let i = 0; i < count; i++) {
      const slot = (page + i) & this.mask;
      if (this.page[slot] === page + i) this.page[slot] = -1;
    }
  }

  flushAll(): void {
    this.page.fill(-1);
  }
}
