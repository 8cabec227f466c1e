/**
 * Looks whether the pages of a process that are in I/O page tables are still in memory, and has
 * those that are not taken out of them. In steps, without allocation, and without touching a page.
 *
 * Terms: a *run* is pages that follow one another and are all in I/O page tables. Runs with small
 * gaps between them make a *stretch*, which the kernel is asked about at once.
 */
import type { MappedWalk, MmuNotifier } from '../address-space.js';
import { type Pagemap, Presence } from './pagemap.js';

/** A question costs as much as so many pages in it: gaps up to this are asked about, too. */
const GAP_PAGES = 256;
const RUNS = 1024;

/** What a scan needs of a process's space. */
export interface ScannedSpace {
  readonly notifiers: readonly MmuNotifier[];
  readonly pagemap: Pick<Pagemap, 'find' | 'first' | 'end' | 'count' | 'stopped'>;
  /** Its process may have other memory by now: nothing is looked at. */
  readonly suspect: boolean;
  /** The pages [first, first + count) have left memory. */
  reclaimed(first: number, count: number): void;
}

export class PresenceScan {
  /** The notifier whose pages are looked at, and where. */
  private notifier = 0;
  private readonly walk: MappedWalk = { position: 0, first: 0, count: 0 };
  private readonly runFirst = new Float64Array(RUNS);
  private readonly runEnd = new Float64Array(RUNS);
  private runs = 0;

  /**
   * Looks at the next `pages` pages of a space or a few more. False: all have been looked at, and
   * the next step begins anew.
   */
  step(space: ScannedSpace, pages: number): boolean {
    const { walk } = this;
    const { notifiers } = space;
    this.runs = 0;
    for (let left = pages; left > 0; ) {
      const notifier = notifiers[this.notifier];
      if (notifier === undefined || space.suspect) {
        this.notifier = walk.position = 0;
        this.ask(space);
        return false;
      }
      if (notifier.nextMapped?.(walk, left) !== true) {
        this.notifier++;
        walk.position = 0;
      } else if (walk.count === 0) left -= GAP_PAGES;
      else left -= this.add(space, walk.first, walk.first + walk.count);
    }
    this.ask(space);
    return true;
  }

  /** Adds a run to the stretch, or begins another; returns what that costs, in pages. */
  private add(space: ScannedSpace, first: number, end: number): number {
    const before = this.runs === 0 ? 0 : this.runEnd[this.runs - 1]!;
    const isNear = this.runs !== 0 && first >= before && first - before <= GAP_PAGES;
    if (!isNear || this.runs === RUNS) this.ask(space);
    this.runFirst[this.runs] = first;
    this.runEnd[this.runs++] = end;
    return end - (isNear ? before : first - GAP_PAGES);
  }

  /** Asks about the stretch. What is not in memory of it goes, where a run has something of it. */
  private ask(space: ScannedSpace): void {
    const { runFirst, runEnd, runs } = this;
    this.runs = 0;
    if (runs === 0) return;
    const { pagemap } = space;
    const stretchEnd = runEnd[runs - 1]!;
    let run = 0;
    for (let at = runFirst[0]!; at < stretchEnd; at = pagemap.stopped) {
      pagemap.find(Presence.ABSENT, at, stretchEnd);
      for (let region = 0; region < pagemap.count; region++) {
        const first = pagemap.first[region]!;
        const end = pagemap.end[region]!;
        while (run < runs && runEnd[run]! <= first) run++;
        if (run < runs && runFirst[run]! < end) space.reclaimed(first, end - first);
      }
    }
  }
}
