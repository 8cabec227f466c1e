/**
 * What a run looked like over time, in at most 256 equal steps; a longer run gets wider steps,
 * always a power of two.
 */
const STEPS = 256;

export interface TimelineStep {
  /** Start of the step in seconds. */
  readonly seconds: number;
  /** Pages mapped for DMA, in I/O page tables, and pinned, mean over the step. */
  readonly mappedPages: number;
  readonly residentPages: number;
  readonly pinnedPages: number;
  readonly faults: number;
  /**
   * Pages that left I/O page tables because they had left memory, without a call of the program.
   */
  readonly reclaimed: number;
  readonly invalidations: number;
  /** Share of the step that the device spent waiting for pages, 0 to 1. */
  readonly stalled: number;
}

/** Of `Counters`, what a timeline follows. */
export interface PageCounts {
  readonly mappedPages: number;
  readonly residentPages: number;
  readonly pinnedPages: number;
}

export class Timeline {
  private widthUs = 1;
  private end = 0;
  private readonly mapped = new Float64Array(STEPS);
  private readonly resident = new Float64Array(STEPS);
  private readonly pinned = new Float64Array(STEPS);
  private readonly faults = new Float64Array(STEPS);
  private readonly reclaims = new Float64Array(STEPS);
  private readonly invalidations = new Float64Array(STEPS);
  private readonly stall = new Float64Array(STEPS);
  private firstStall = -1;

  /** Time goes on from `from` by `us`, with so many pages. */
  advance(from: number, us: number, pages: PageCounts, stalled: boolean): void {
    const { mappedPages, residentPages, pinnedPages } = pages;
    const end = from + us;
    if (end > this.end) this.end = end;
    while (end > STEPS * this.widthUs) this.halve();
    if (stalled && this.firstStall < 0) this.firstStall = from;
    let at = from;
    for (let step = Math.floor(from / this.widthUs); at < end; step++) {
      const part = Math.min(end, (step + 1) * this.widthUs) - at;
      this.mapped[step]! += part * mappedPages;
      this.resident[step]! += part * residentPages;
      this.pinned[step]! += part * pinnedPages;
      if (stalled) this.stall[step]! += part;
      at += part;
      if (part <= 0) break;
    }
  }

  fault(at: number): void {
    this.add(this.faults, at, 1);
  }

  invalidation(at: number): void {
    this.add(this.invalidations, at, 1);
  }

  reclaimed(at: number, pages: number): void {
    this.add(this.reclaims, at, pages);
  }

  /**
   * Microseconds until the first step, from the first stall on, in which the device waits for at
   * most a twentieth of the time.
   */
  get rampUs(): number {
    if (this.firstStall < 0) return 0;
    let step = Math.floor(this.firstStall / this.widthUs);
    for (; step < STEPS && step * this.widthUs < this.end; step++) {
      const width = Math.min(this.end, (step + 1) * this.widthUs) - step * this.widthUs;
      if (this.stall[step]! <= 0.05 * width) return step * this.widthUs;
    }
    return this.end;
  }

  get steps(): TimelineStep[] {
    const steps: TimelineStep[] = [];
    for (let step = 0; step < STEPS && step * this.widthUs < this.end; step++) {
      const width = Math.min(this.end, (step + 1) * this.widthUs) - step * this.widthUs;
      steps.push({
        seconds: (step * this.widthUs) / 1e6,
        mappedPages: this.mapped[step]! / width,
        residentPages: this.resident[step]! / width,
        pinnedPages: this.pinned[step]! / width,
        faults: this.faults[step]!,
        reclaimed: this.reclaims[step]!,
        invalidations: this.invalidations[step]!,
        stalled: this.stall[step]! / width,
      });
    }
    return steps;
  }

  private add(counts: Float64Array, at: number, count: number): void {
    while (at >= STEPS * this.widthUs) this.halve();
    counts[Math.floor(at / this.widthUs)]! += count;
  }

  private halve(): void {
    const { mapped, resident, pinned, faults, invalidations, reclaims, stall } = this;
    for (const values of [mapped, resident, pinned, faults, invalidations, reclaims, stall]) {
      for (let step = 0; step < STEPS / 2; step++)
        values[step] = values[2 * step]! + values[2 * step + 1]!;
      values.fill(0, STEPS / 2);
    }
    this.widthUs *= 2;
  }
}
