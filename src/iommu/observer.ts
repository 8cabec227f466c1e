import { LatencyHistogram } from './latency.js';

/**
 * Watches what happens, for traces. Called on hot paths: an implementation may not throw, and must
 * copy at once what it keeps.
 */
export interface Observer {
  /** `count` pages got consecutive frames from `frame` on. */
  map(iovaPage: number, frame: number, count: number): void;
  /** `count` pages were asked to go; `removed` pages went. */
  unmap(iovaPage: number, count: number, removed: number): void;
  /**
   * A device reported a page request. `pasid` is -1 where it has none; `last` ends its page request
   * group.
   */
  pageRequest(
    device: ObservedDevice,
    iovaPage: number,
    access: number,
    pasid: number,
    group: number,
    last: boolean,
  ): void;
  /** A page request group was answered with a `PageResponseCode`. */
  pageResponse(device: ObservedDevice, pasid: number, group: number, code: number): void;

  // Recordings need these as well.
  /**
   * A mapping was made, or goes: pages, READ and WRITE, and the process whose memory it is.
   */
  mappingAdded?(mapping: ObservedMapping): void;
  mappingRemoved?(mapping: ObservedMapping): void;
  /**
   * An invalidation reached mappings: its range, in pages of the process, and how many mapped pages
   * it removed. `reclaimed`: the pages had left memory without a call of the program.
   */
  invalidate?(
    space: number,
    first: number,
    count: number,
    removed: number,
    reclaimed: boolean,
  ): void;
  /**
   * An address space ended (exit, exec): what was mapped of it is gone, without an invalidation.
   */
  spaceEnded?(space: number): void;
  /** A device found a page gone without notice, and its translation goes. */
  pageLost?(device: ObservedDevice, iovaPage: number): void;
  /** A device reached a page, or was refused it. */
  accessed?(iovaPage: number, access: number, refused: boolean): void;
  /** A rule of `--inject`, as it was written, made a fault. */
  faultMade?(rule: string): void;
}

/** A device as observers know it. */
export interface ObservedDevice {
  /** `0000:02:00.0` */
  readonly address: string;
}

export interface ObservedMapping {
  readonly iovaPage: number;
  readonly pages: number;
  readonly vaddrPage: number;
  readonly permission: number;
  readonly pinnedByFlag: boolean;
  readonly mm: { readonly id: number };
}

/**
 * What a run counts: plain numbers at fixed cost. Pages are 4 KiB; a peak is the highest value so
 * far.
 */
export class Counters {
  /** Page requests reported, those answered from what is mapped already included. */
  faults = 0;
  /** Page request groups answered, by code. */
  responsesSuccess = 0;
  responsesInvalid = 0;
  responsesFailure = 0;
  /** Responses that matched no pending group (R1.4). */
  responsesUnmatched = 0;
  /** Page requests at a level or of a device that nobody handles (R1.3). */
  faultsRefused = 0;
  /** Page requests above the pending limit, answered SUCCESS so that the device asks again. */
  requestsOverflowed = 0;
  /** Partial page request groups that were dropped when reporting ended. */
  partialsDiscarded = 0;
  /** Page-ins that an invalidation made start again (R3.3). */
  pageInsRetried = 0;
  /** Pages brought in because a device touched them. */
  pagesFaultedIn = 0;
  /** Pages brought in beside them (R4.1). */
  pagesPremapped = 0;
  /** Notifier events that reached mapped pages, and the pages that they removed. */
  invalidations = 0;
  pagesInvalidated = 0;
  /**
   * Those of them that had left memory without a call of the program: swapped out, or dropped from
   * a file's cache.
   */
  pagesReclaimed = 0;
  /** Pages of live DMA mappings. */
  mappedPages = 0;
  mappedPagesPeak = 0;
  /** Pages pinned for DMA mappings. */
  pinnedPages = 0;
  pinnedPagesPeak = 0;
  /** Pages present in I/O page tables; a page that several domains have counts once. */
  residentPages = 0;
  residentPagesPeak = 0;
  dmaBytesRead = 0;
  dmaBytesWritten = 0;
  readonly faultLatency = new LatencyHistogram();

  /** @param nowUs the clock; without one, latencies are 0 */
  constructor(readonly nowUs: () => number = zero) {}

  addMapped(pages: number): void {
    this.mappedPages += pages;
    if (this.mappedPages > this.mappedPagesPeak) this.mappedPagesPeak = this.mappedPages;
  }

  addPinned(pages: number): void {
    this.pinnedPages += pages;
    if (this.pinnedPages > this.pinnedPagesPeak) this.pinnedPagesPeak = this.pinnedPages;
  }

  addResident(pages: number): void {
    this.residentPages += pages;
    if (this.residentPages > this.residentPagesPeak) this.residentPagesPeak = this.residentPages;
  }
}

function zero(): number {
  return 0;
}
