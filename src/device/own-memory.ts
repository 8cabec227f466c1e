/** Whose memory pages are, bits: the bus's, the function's own. */
export const Side = { BUS: 1, OWN: 2, BOTH: 3 } as const;

/**
 * Memory at addresses of a function's own, which never get to the IOMMU (NVMe's controller memory
 * buffer). None at first.
 */
export class OwnMemory {
  private firstPage = 0;
  private pages = 0;
  private firstFrame = 0;

  /** `pages` from IOVA page `first` on, the first of which is this frame; none where 0. */
  place(first: number, pages: number, frame: number): void {
    this.firstPage = first;
    this.pages = pages;
    this.firstFrame = frame;
  }

  get isThere(): boolean {
    return this.pages > 0;
  }

  /** Hot. */
  has(page: number): boolean {
    const at = page - this.firstPage;
    return at >= 0 && at < this.pages;
  }

  /** Of a page that it has. Hot. */
  frameOf(page: number): number {
    return this.firstFrame + page - this.firstPage;
  }

  /** Whose memory `pages` from IOVA page `first` on are: bits of `Side`. */
  sides(first: number, pages: number): number {
    const end = this.firstPage + this.pages;
    if (this.pages === 0 || first >= end || first + pages <= this.firstPage) return Side.BUS;
    return first >= this.firstPage && first + pages <= end ? Side.OWN : Side.BOTH;
  }
}
