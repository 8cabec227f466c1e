import type { AddressSpace } from '../mm/address-space.js';
import type { DriverPins } from './driver-pins.js';
import { PageBitmap } from './page-bitmap.js';

/**
 * A DMA mapping: IOVAs that reach a process's memory (kernel: vfio_dma). Pages are 4 KiB; addresses
 * are page numbers.
 */
export class Mapping {
  /**
   * Which pages are present in some domain of the container because a device asked (R2.1). Empty
   * while pinned.
   */
  readonly mapped: PageBitmap;
  /**
   * Which pages a device may have written since the last report; null while the dirty log is off.
   */
  dirty: PageBitmap | null = null;
  /** What the kernel's log leaves behind the last page's bit (user-bitmap.ts); null: nothing. */
  dirtyResidue: Uint32Array | null = null;
  /** The virtual address is not valid at the moment (VFIO_DMA_UNMAP_FLAG_VADDR). */
  vaddrInvalid = false;
  /** Whether the process that made it had CAP_IPC_LOCK then. */
  lockCapability = false;
  /** Pages in its process's locked-memory account. */
  lockedPages = 0;

  /** Pages that device drivers have pinned (R6.2); null: none. */
  driverPins: DriverPins | null = null;

  /** Neighbours in a chain of the index by address; the index's alone. */
  chainNext: Mapping | null = null;
  chainPrevious: Mapping | null = null;

  constructor(
    readonly iovaPage: number,
    readonly pages: number,
    public vaddrPage: number,
    /** READ and WRITE. */
    readonly permission: number,
    /** Whose memory it is. */
    public mm: AddressSpace,
    /** Made with VFIO_DMA_MAP_FLAG_PINNED: pinned whether IOPF is on or off (R7.2). */
    readonly pinnedByFlag = false,
  ) {
    this.mapped = new PageBitmap(pages);
  }

  /** All of its pages are pinned and mapped; it never faults. */
  pinned = false;

  /** One more than the last IOVA page. */
  get iovaEnd(): number {
    return this.iovaPage + this.pages;
  }
}
