import type { IommuDevice } from '../../iommu/device.js';
import type { ObservedMapping, Observer } from '../../iommu/observer.js';
import type { HeatMap } from '../../trace/heat.js';
import type { LivePicture, Picture } from '../../trace/live-picture.js';

/** What a live view, and the report at its end, note as it happens. */
export class LiveWatch implements Observer {
  readonly faults = new Map<IommuDevice, number>();
  mappingsChanged = true;

  /**
   * @param heat what can be asked about; null: nobody asks
   * @param drawn for the report; null: another draws it
   */
  constructor(
    readonly heat: HeatMap | null,
    private readonly drawn: LivePicture | null,
  ) {}

  map(iovaPage: number, frame: number, count: number): void {
    this.drawn?.map(iovaPage, frame, count);
  }

  unmap(iovaPage: number, count: number, removed: number): void {
    // Where a superpage went with them, the pages beside those that were asked for are not known
    // here.
    this.heat?.take(iovaPage, Math.min(count, removed));
    this.drawn?.unmap(iovaPage, count, removed);
  }

  pageRequest(device: IommuDevice, iovaPage: number): void {
    this.heat?.fault(iovaPage);
    this.drawn?.pageRequest(device, iovaPage);
    this.faults.set(device, (this.faults.get(device) ?? 0) + 1);
  }

  pageResponse(): void {
    this.drawn?.pageResponse();
  }

  /** Hot. */
  accessed(iovaPage: number, _access: number, refused: boolean): void {
    if (!refused) this.heat?.touch(iovaPage);
  }

  invalidate(
    space: number,
    first: number,
    count: number,
    removed: number,
    reclaimed: boolean,
  ): void {
    this.drawn?.invalidate(space, first, count, removed, reclaimed);
  }

  mappingAdded(mapping: ObservedMapping): void {
    this.mappingsChanged = true;
    this.drawn?.mappingAdded(mapping);
  }

  mappingRemoved(mapping: ObservedMapping): void {
    this.mappingsChanged = true;
    this.drawn?.mappingRemoved(mapping);
  }

  /** Draws what devices touched since the last time. */
  tick(): void {
    const { drawn } = this;
    if (drawn === null) return;
    drawn.tick();
    this.heat?.eachNew((page, pages) => drawn.touched(page, pages));
  }

  get picture(): Picture | null {
    this.tick();
    return this.drawn?.picture ?? null;
  }
}
