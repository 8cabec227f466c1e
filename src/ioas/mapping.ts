import type { AddressSpace } from '../mm/address-space.js';
import type { DriverPins } from './driver-pins.js';
import { PageBitmap } from './page-bitmap.js';
import type { UserPages } from './user-pages.js';

/**
 * A DMA mapping: IOVAs that reach a process's memory (kernel: vfio_dma, struct iopt_area). Pages
 * are 4 KiB; addresses are page numbers.
 */
export class Mapping {
  /** Whose memory it is, and where its first page is in it: of the source, at hand for a fault. */
  mm: AddressSpace;
  vaddrPage: number;
  /** The address leads nowhere at the moment (VFIO_DMA_UNMAP_FLAG_VADDR). */
  vaddrInvalid = false;
  /**
   * Which pages are present in some domain of the space because a device asked (R2.1). Empty while
   * pinned.
   */
  readonly mapped: PageBitmap;
  /** All of its pages are pinned and mapped; it never faults. */
  pinned = false;
  /** Pages that device drivers have pinned (R6.2); null: none. */
  driverPins: DriverPins | null = null;

  /** Its slot in the index by IOVA; the index's alone. */
  slot = -1;
  /** Neighbours in a chain of the index by address; the index's alone. */
  chainNext: Mapping | null = null;
  chainPrevious: Mapping | null = null;

  constructor(
    readonly iovaPage: number,
    readonly pages: number,
    /** READ and WRITE. */
    readonly permission: number,
    readonly source: UserPages,
    /** Its first page's place in the source. */
    readonly sourcePage = 0,
    /** Made with VFIO_DMA_MAP_FLAG_PINNED: pinned whether IOPF is on or off (R7.2). */
    readonly pinnedByFlag = false,
  ) {
    this.mm = source.mm;
    this.vaddrPage = source.vaddrPage + sourcePage;
    this.mapped = new PageBitmap(pages);
  }

  /** One more than the last IOVA page. */
  get iovaEnd(): number {
    return this.iovaPage + this.pages;
  }
}
