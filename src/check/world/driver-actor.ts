/** The driver of a device, which pins pages of the container itself. */
import type { Flow } from '../../flow/flow.js';
import type { DriverPinning, PinUser } from '../../ioas/driver-pins.js';
import type { IommuGroup } from '../../iommu/group.js';
import { READ, WRITE } from '../../mm/address-space.js';
import type { Digest } from './digest.js';
import { accessName, checkAccess, IOVA, onContainer } from './operation.js';
import type { StepNotes } from './step-notes.js';

const frames = new Float64Array(16);

export class Driver implements PinUser {
  /** How often each page is pinned. */
  private readonly held: Int32Array;
  private open = true;

  constructor(
    private readonly notes: StepNotes,
    private readonly pinning: DriverPinning,
    private readonly group: IommuGroup,
    private readonly pages: number,
  ) {
    this.held = new Int32Array(pages);
    this.pinning.register(this);
  }

  /** Whether it is the driver of a group's devices. */
  drives(group: number): boolean {
    return this.group.number === group;
  }

  /** vfio_pin_pages. */
  *pin(page: number, count: number, access: number = READ | WRITE): Flow<string> {
    checkAccess('pin', access);
    yield onContainer(`its driver pins ${accessName(access)}`, IOVA + page, count);
    if (!this.open) return this.notes.note('closed', 1);
    return this.notes.call(() => {
      this.pinning.pin(this.group, IOVA + page, count, access, frames);
      for (let i = page; i < page + count; i++) this.held[i]!++;
    });
  }

  /** vfio_unpin_pages, of what it still has. */
  *unpin(page: number, count: number): Flow<void> {
    yield onContainer('its driver unpins', IOVA + page, count);
    for (let i = page; i < page + count; i++) if (this.held[i] !== 0) this.drop(i, 1);
    this.notes.note(null, 0);
  }

  dmaUnmap(iovaPage: number, pages: number): void {
    for (let page = iovaPage - IOVA; page < iovaPage - IOVA + pages; page++)
      this.drop(page, this.held[page]!);
  }

  /** Its device is closed. */
  close(): void {
    if (!this.open) return;
    this.open = false;
    this.dmaUnmap(IOVA, this.pages);
    this.pinning.unregister(this);
  }

  addTo(digest: Digest): void {
    digest.add(this.open ? 1 : 0);
    for (let page = 0; page < this.held.length; page++) digest.add(this.held[page]!);
  }

  private drop(page: number, times: number): void {
    for (let i = 0; i < times; i++) this.pinning.unpin(IOVA + page, 1);
    this.held[page]! -= times;
  }
}
