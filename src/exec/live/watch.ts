import type { IommuDevice } from '../../iommu/device.js';
import type { Counters, Observer } from '../../iommu/observer.js';
import { HeatMap } from '../../trace/heat.js';
import { LivePicture, type Picture } from '../../trace/live-picture.js';

/** What a live view, and the report at its end, note as it happens. */
export class LiveWatch implements Observer {
  readonly heat = new HeatMap();
  readonly faults = new Map<IommuDevice, number>();
  mappingsChanged = true;
  private readonly drawn: LivePicture;

  /** @param nowUs the clock in microseconds */
  constructor(counters: Counters, nowUs: () => number) {
    this.drawn = new LivePicture(counters, nowUs);
  }

  map(iovaPage: number, frame: number, count: number): void {
    this.drawn.map(iovaPage, frame, count);
  }

  unmap(iovaPage: number, count: number, removed: number): void {
    // Where a superpage went with them, the pages beside those that were asked for are not known
    // here.
    this.heat.take(iovaPage, Math.min(count, removed));
    this.drawn.unmap(iovaPage, count, removed);
  }

  pageRequest(device: IommuDevice, iovaPage: number): void {
    this.heat.fault(iovaPage);
    this.drawn.pageRequest(device, iovaPage);
    this.faults.set(device, (this.faults.get(device) ?? 0) + 1);
  }

  pageResponse(): void {
    this.drawn.pageResponse();
  }

  /** Hot. */
  accessed(iovaPage: number, _access: number, refused: boolean): void {
    if (!refused) this.heat.touch(iovaPage);
  }

  invalidate(
    space: number,
    first: number,
    count: number,
    removed: number,
    reclaimed: boolean,
  ): void {
    this.drawn.invalidate(space, first, count, removed, reclaimed);
  }

  mappingAdded(): void {
    this.mappingsChanged = true;
  }

  mappingRemoved(): void {
    this.mappingsChanged = true;
  }

  /** Draws what devices touched since the last time. */
  tick(): void {
    this.drawn.tick();
    this.heat.eachNew((page, pages) => this.drawn.touched(page, pages));
  }

  get picture(): Picture {
    this.tick();
    return this.drawn.picture;
  }
}
