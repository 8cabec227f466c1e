import type { IommuDevice } from '../iommu/device.js';
import type { Counters, ObservedMapping, Observer } from '../iommu/observer.js';
import { AddressMap, type AddressMapData } from './address-map.js';
import { Timeline, type TimelineStep } from './timeline.js';

/** The picture of a live run that its report draws. */
export interface Picture {
  readonly timeline: readonly TimelineStep[];
  readonly map: AddressMapData;
}

/** Watches a live run for its report. */
export class LivePicture implements Observer {
  private readonly timeline = new Timeline();
  private readonly addresses = new AddressMap();
  private readonly startedUs: number;
  private last = 0;

  constructor(
    private readonly counters: Counters,
    private readonly nowUs: () => number,
  ) {
    this.startedUs = nowUs();
  }

  map(iovaPage: number, _frame: number, count: number): void {
    this.addresses.mapped(this.pass(false), iovaPage, count);
  }

  unmap(iovaPage: number, count: number, removed: number): void {
    const time = this.pass(false);
    // A whole mapping goes at once; only what was there is shown.
    if (removed > 0) this.addresses.taken(time, iovaPage, Math.min(count, removed));
  }

  pageRequest(_device: IommuDevice, iovaPage: number): void {
    const time = this.pass(false);
    this.timeline.fault(time);
    this.addresses.faulted(time, iovaPage);
  }

  pageResponse(): void {
    this.pass(true);
  }

  invalidate(
    _space: number,
    _first: number,
    _count: number,
    removed: number,
    reclaimed: boolean,
  ): void {
    if (removed === 0) return;
    const time = this.pass(false);
    this.timeline.invalidation(time);
    if (reclaimed) this.timeline.reclaimed(time, removed);
  }

  mappingAdded({ iovaPage, pages }: ObservedMapping): void {
    this.addresses.mappingAdded(this.pass(false), iovaPage, pages);
  }

  mappingRemoved({ iovaPage, pages }: ObservedMapping): void {
    this.addresses.mappingRemoved(this.pass(false), iovaPage, pages);
  }

  accessed(iovaPage: number, _access: number, refused: boolean): void {
    if (!refused) this.addresses.touched(this.last, iovaPage, 1);
  }

  /** Pages touched lately, where not every access is observed. */
  touched(iovaPage: number, count: number): void {
    this.addresses.touched(this.last, iovaPage, count);
  }

  /** Every 50 ms or so: time goes on where nothing happens. */
  tick(): void {
    this.pass(false);
  }

  get picture(): Picture {
    this.pass(false);
    return { timeline: this.timeline.steps, map: this.addresses.data };
  }

  /** Time has gone on; returns it. */
  private pass(stalled: boolean): number {
    const time = this.nowUs() - this.startedUs;
    this.timeline.advance(this.last, time - this.last, this.counters, stalled);
    this.last = time;
    return time;
  }
}
