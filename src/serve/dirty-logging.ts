/** Which pages the device has written: DEVICE_FEATURE's DMA logging, and DMA_UNMAP's bitmap. */
import { fail } from '../abi/errno.js';
import { DirtyLog } from '../ioas/dirty-log.js';
import type { IoSpace } from '../ioas/io-space.js';
import { PAGE_SIZE } from '../mm/address-space.js';

const WORD_BITS = 64;
const WORD_BYTES = 8;

export class DirtyLogging {
  private log: DirtyLog | null = null;
  /** Bytes of a page, as the client began the log. */
  private pageBytes = 0;

  constructor(private readonly space: IoSpace) {}

  /** EINVAL: pages that are no power of two of at least 4 KiB; a log of other pages is on. */
  start(pageBytes: number): void {
    if (!isPageSize(pageBytes) || (this.log !== null && pageBytes !== this.pageBytes))
      fail('EINVAL');
    if (this.log !== null) return;
    this.pageBytes = pageBytes;
    this.log = new DirtyLog();
    this.space.startLog(this.log);
  }

  /** On or not. */
  stop(): void {
    if (this.log === null) return;
    this.space.stopLog(this.log);
    this.log = null;
  }

  /**
   * Sets the bits of pages that were written in [firstPage, firstPage + pages), which are clean
   * from now on. The work is bounded by the pages that were written, and `into` by its caller.
   * EINVAL: no log is kept, the page size, or `into` is too small; ENOENT: nothing is mapped there.
   */
  report(firstPage: number, pages: number, pageBytes: number, into: Uint8Array): void {
    const { log, space } = this;
    if (log === null || !isPageSize(pageBytes)) fail('EINVAL');
    if (into.length < bitmapBytes(pages, pageBytes)) fail('EINVAL');
    const end = firstPage + pages;
    const { mappings } = space;
    let mapping = mappings.firstFrom(firstPage);
    if (!mapping || mapping.iovaPage >= end) fail('ENOENT');
    for (; mapping && mapping.iovaPage < end; mapping = mappings.after(mapping)) {
      const { iovaPage } = mapping;
      const first = Math.max(firstPage, iovaPage) - iovaPage;
      const last = Math.min(end, mapping.iovaEnd) - iovaPage;
      const dirty = log.of(mapping);
      for (let page = dirty.nextSet(first, last); page < last; ) {
        const stop = dirty.nextClear(page, last);
        const shift = iovaPage - firstPage;
        setBits(into, shift + page, shift + stop, pageBytes / PAGE_SIZE);
        page = dirty.nextSet(stop, last);
      }
      space.iopf.dirtyReported(log, mapping, first, last - first);
    }
  }
}

/** Bytes of a bitmap of so many 4 KiB pages: whole 64-bit words. */
export function bitmapBytes(pages: number, pageBytes: number): number {
  const bits = Math.ceil((pages * PAGE_SIZE) / pageBytes);
  return Math.ceil(bits / WORD_BITS) * WORD_BYTES;
}

/** A power of two, of at least a page of the IOMMU's. */
export function isPageSize(bytes: number): boolean {
  return bytes >= PAGE_SIZE && bytes < 2 ** 53 && Number.isInteger(Math.log2(bytes));
}

/** Sets the bits of pages [first, end), of which each bit has so many. */
function setBits(into: Uint8Array, first: number, end: number, pagesOfBit: number): void {
  const last = Math.floor((end - 1) / pagesOfBit);
  for (let bit = Math.floor(first / pagesOfBit); bit <= last; bit++)
    into[bit >>> 3]! |= 1 << (bit & 7);
}
