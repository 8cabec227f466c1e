/**
 * Which pages are pinned, and in which frames: few numbers where frames follow one another, as they
 * do in live processes.
 *
 * Terms: a *run* is a stretch of pages whose frames follow one another and which are all charged to
 * the account, or none of them.
 */

const STRIDE = 4;
/** Places of a run's numbers. */
const FRAME = 1;
const COUNT = 2;
const CHARGED = 3;

/** Pages [first, first + count), whose frames count from `frame` on. */
export interface PinnedRun {
  readonly first: number;
  readonly frame: number;
  readonly count: number;
  readonly charged: boolean;
}

export class PinnedRuns {
  /** Four numbers a run, in order of pages. */
  private readonly runs: number[] = [];

  /** Adds a page that is not there. */
  add(page: number, frame: number, charged: boolean): void {
    const { runs } = this;
    const at = this.indexOf(page);
    const before = at - STRIDE;
    if (
      before >= 0 &&
      runs[before]! + runs[before + COUNT]! === page &&
      runs[before + FRAME]! + runs[before + COUNT]! === frame &&
      (runs[before + CHARGED] === 1) === charged
    )
      runs[before + COUNT]!++;
    else if (at === runs.length) runs.push(page, frame, 1, charged ? 1 : 0);
    else runs.splice(at, 0, page, frame, 1, charged ? 1 : 0);
  }

  /** The parts of runs that lie in [first, end), in order. */
  *within(first: number, end: number): Generator<PinnedRun, void, void> {
    const { runs } = this;
    let at = this.indexOf(first);
    if (at > 0 && runs[at - STRIDE]! + runs[at - STRIDE + COUNT]! > first) at -= STRIDE;
    for (; at < runs.length && runs[at]! < end; at += STRIDE) {
      const from = Math.max(first, runs[at]!);
      const count = Math.min(end, runs[at]! + runs[at + COUNT]!) - from;
      const frame = runs[at + FRAME]! + from - runs[at]!;
      yield { first: from, frame, count, charged: runs[at + CHARGED] === 1 };
    }
  }

  /** Takes [first, end) out. */
  remove(first: number, end: number): void {
    const { runs } = this;
    const kept: number[] = [];
    for (let at = 0; at < runs.length; at += STRIDE) {
      const start = runs[at]!;
      const stop = start + runs[at + COUNT]!;
      const frame = runs[at + FRAME]!;
      const charged = runs[at + CHARGED]!;
      if (start < first) kept.push(start, frame, Math.min(stop, first) - start, charged);
      if (stop > end) {
        const from = Math.max(start, end);
        kept.push(from, frame + from - start, stop - from, charged);
      }
    }
    runs.length = 0;
    for (const number of kept) runs.push(number);
  }

  /** Where the first run that begins behind a page is. */
  private indexOf(page: number): number {
    const { runs } = this;
    let low = 0;
    let high = runs.length / STRIDE;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (runs[middle * STRIDE]! <= page) low = middle + 1;
      else high = middle;
    }
    return low * STRIDE;
  }
}
