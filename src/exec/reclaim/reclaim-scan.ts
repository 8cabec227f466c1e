/**
 * `--reclaim-scan MS`: reclaim is no system call of the program, so it is noticed by looking, every
 * so often, at which pages that are in I/O page tables are still in memory. Those that are not
 * leave the tables the notifier's way.
 */
import { PresenceScan } from '../../mm/process/presence-scan.js';
import type { ProcessSpace } from '../../mm/process/space.js';
import type { ProcessTable } from '../process/process.js';
import type { BackgroundWork } from '../run/background.js';

/** Pages looked at in a slice: some 80 µs. */
const SLICE_PAGES = 8192;
/** The loop has this many times as long for itself as a slice took. */
const REST = 3;

export class ReclaimScan implements BackgroundWork {
  dueMs = Number.NEGATIVE_INFINITY;
  /** Passes over all pages, and the time that they took, rests apart. */
  scans = 0;
  seconds = 0;
  private readonly spaces: ProcessSpace[] = [];
  private readonly scan = new PresenceScan();
  private begunMs = 0;

  constructor(
    private readonly processes: ProcessTable,
    private readonly periodMs: number,
    private readonly nowMs: () => number,
  ) {}

  run(nowMs: number): void {
    this.dueMs = this.step(nowMs);
  }

  /** Returns when to go on. */
  private step(nowMs: number): number {
    const { spaces } = this;
    if (spaces.length === 0) {
      this.begunMs = nowMs;
      for (const { space } of this.processes.all) spaces.push(space);
    }
    const space = spaces[spaces.length - 1];
    // No process uses VFIO: nothing to look at.
    if (space === undefined) return nowMs + this.periodMs;
    if (!this.scan.step(space, SLICE_PAGES)) spaces.pop();
    const endMs = this.nowMs();
    this.seconds += (endMs - nowMs) / 1000;
    if (spaces.length !== 0) return endMs + REST * (endMs - nowMs);
    this.scans++;
    return Math.max(endMs, this.begunMs + this.periodMs);
  }
}
