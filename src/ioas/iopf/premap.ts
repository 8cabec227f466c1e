/** The largest window: 2 MiB, what one leaf of an I/O page table maps. */
export const PREMAP_MOST = 512;
/** The page that faulted, and no other. */
export const PREMAP_DEFAULT = 1;

/** How many pages a fault brings in, its own included (R4.1). */
export interface PremapPolicy {
  /** The most that `pagesAt` answers, 1 to PREMAP_MOST. */
  readonly most: number;
  /**
   * Pages of the window of a fault at this IOVA page: 1 or more. Called once for each page-in,
   * before it.
   */
  pagesAt(iovaPage: number): number;
}

export class FixedPremap implements PremapPolicy {
  /** @param most pages of every window, 1 to PREMAP_MOST. Throws RangeError. */
  constructor(readonly most: number) {
    if (!Number.isInteger(most) || most < 1 || most > PREMAP_MOST)
      throw new RangeError(`pre-map ${most}: a number of pages from 1 to ${PREMAP_MOST} is needed`);
  }

  pagesAt(): number {
    return this.most;
  }
}

const STREAMS = 16;
const FIRST_START = 4;
const MOST_START = 32;

/**
 * A window that grows on sequential runs and shrinks on waste, like readahead.
 *
 * Terms: a *stream* is a run of faults of which each follows the window of the one before it. A
 * fault that continues a stream shows that its last window was used, and gets one twice as large.
 * Where a fault continues none, a stream begins with the *start* window. Device accesses leave no
 * mark on a page that is mapped, so waste is told by streams that end with their first window: each
 * halves the start window, and each that goes on beyond it doubles it.
 */
export class AdaptivePremap implements PremapPolicy {
  private readonly next = new Float64Array(STREAMS);
  private readonly window = new Int32Array(STREAMS);
  private readonly faults = new Float64Array(STREAMS);
  private readonly lastUse = new Float64Array(STREAMS);
  private start = FIRST_START;
  private uses = 0;

  constructor(readonly most = PREMAP_MOST) {}

  pagesAt(iovaPage: number): number {
    this.uses++;
    let oldest = 0;
    for (let i = 0; i < STREAMS; i++) {
      const ahead = iovaPage - this.next[i]!;
      // A window ends early where pages are mapped already, so the next fault may lie a little
      // further on.
      if (ahead >= 0 && ahead < this.window[i]!) return this.goOn(i, iovaPage);
      if (this.lastUse[i]! < this.lastUse[oldest]!) oldest = i;
    }
    if (this.faults[oldest] === 1) this.start = Math.max(1, this.start >>> 1);
    this.faults[oldest] = 0;
    return this.use(oldest, iovaPage, this.start);
  }

  private goOn(stream: number, iovaPage: number): number {
    if (this.faults[stream] === 1) this.start = Math.min(MOST_START, this.start * 2);
    return this.use(stream, iovaPage, this.window[stream]! * 2);
  }

  private use(stream: number, iovaPage: number, wanted: number): number {
    const pages = Math.min(wanted, this.most);
    this.faults[stream]!++;
    this.window[stream] = pages;
    this.next[stream] = iovaPage + pages;
    this.lastUse[stream] = this.uses;
    return pages;
  }
}
