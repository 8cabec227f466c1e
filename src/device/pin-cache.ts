import type { PageRange } from '../iommu/group.js';
import { PAGE_SIZE, READ, WRITE } from '../mm/address-space.js';
import type { DriverMemory } from '../vfio/pci-function.js';

const frames = new Float64Array(1);

/**
 * The pins of a device that can wait for a page only on part of its accesses (R7.1): pages outside
 * its *faultable* ranges are pinned when it first uses them, and stay so until they are unmapped or
 * the device is reset or closed.
 */
export class PinCache {
  private readonly pages = new Set<number>();

  /**
   * @param faultable where the device can wait, in IOVA pages
   * @param memory the container's memory now, or null while the device is not open
   */
  constructor(
    private readonly faultable: readonly PageRange[],
    private readonly memory: () => DriverMemory | null,
  ) {}

  /**
   * Pins what of [address, address + length) needs it; false where a page cannot be pinned: nothing
   * may be transferred then.
   */
  hold(address: number, length: number, write: boolean): boolean {
    const end = Math.ceil((address + length) / PAGE_SIZE);
    for (let page = Math.floor(address / PAGE_SIZE); page < end; page++) {
      if (
        this.pages.has(page) ||
        this.faultable.some(({ first, end }) => page >= first && page < end)
      )
        continue;
      if (this.memory()?.pin(page, 1, write ? WRITE : READ, frames) !== 0) return false;
      this.pages.add(page);
    }
    return true;
  }

  /** PciDevice.dmaUnmap. */
  dmaUnmap(iovaPage: number, count: number): void {
    for (const page of this.pages) if (page >= iovaPage && page < iovaPage + count) this.drop(page);
  }

  /** The device is reset or closed. */
  release(): void {
    for (const page of this.pages) this.drop(page);
  }

  private drop(page: number): void {
    this.memory()?.unpin(page, 1);
    this.pages.delete(page);
  }
}
