/**
 * Page requests and invalidations that take the time of a cost model. A program that meets them
 * waits as it would for a device with such faults: the engine does nothing else meanwhile.
 */
import type { Observer } from '../../iommu/observer.js';

/** Of a cost model (docs/models.md), in microseconds. Plain data: it crosses threads. */
export interface RequestTimes {
  readonly model: string;
  /** A page request of one page, from report to response. */
  readonly fault: number;
  readonly extraPage: number;
  readonly invalidate: number;
}

/** In seconds; null: no model was asked for. */
export interface StallSummary {
  /** How long page requests took here, and how long they take by the model. */
  readonly stallSecondsLive: number | null;
  readonly stallSecondsPriced: number | null;
}

/** What is left is waited for without sleep: timers come this much late. */
const SPIN_US = 150;
/** So much of what came late is made good; a machine that stood still longer is not hidden. */
const LATE_MOST_US = 50_000;

export class ModelledTime implements Observer {
  private readonly never = new Int32Array(new SharedArrayBuffer(4));
  private startedUs = 0;
  private pages = 0;
  /** What waits took beyond their time (code that is not compiled yet); the next are shorter. */
  private lateUs = 0;
  private liveUs = 0;
  private pricedUs = 0;

  constructor(
    private readonly times: RequestTimes,
    private readonly nowUs: () => number,
  ) {}

  map(_iovaPage: number, _frame: number, count: number): void {
    this.pages += count;
  }

  unmap(): void {}

  pageRequest(): void {
    this.startedUs = this.nowUs();
    this.pages = 0;
  }

  pageResponse(): void {
    const { extraPage, fault } = this.times;
    const us = fault + Math.max(0, this.pages - 1) * extraPage;
    this.pricedUs += us;
    this.liveUs += this.waitUntil(this.startedUs + us) - this.startedUs;
  }

  invalidate(_space: number, _first: number, _count: number, removed: number): void {
    if (removed > 0) this.waitUntil(this.nowUs() + this.times.invalidate);
  }

  get summary(): StallSummary {
    const seconds = (us: number): number => Math.round(us) / 1e6;
    return {
      stallSecondsLive: seconds(this.liveUs),
      stallSecondsPriced: seconds(this.pricedUs),
    };
  }

  /** Returns when it ended. */
  private waitUntil(modelUs: number): number {
    const endUs = modelUs - this.lateUs;
    const sleepMs = (endUs - this.nowUs() - SPIN_US) / 1000;
    if (sleepMs > 0) Atomics.wait(this.never, 0, 0, sleepMs);
    let nowUs = this.nowUs();
    while (nowUs < endUs) nowUs = this.nowUs();
    this.lateUs = Math.min(LATE_MOST_US, nowUs - endUs);
    return nowUs;
  }
}

export const NO_STALL: StallSummary = { stallSecondsLive: null, stallSecondsPriced: null };
