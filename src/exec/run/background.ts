/** Work beside the loop's own, done in slices short enough that no device waits for it. */
export interface BackgroundWork {
  /**
   * Does a slice. Takes the clock and returns when it wants to be called again, both in
   * milliseconds.
   */
  run(nowMs: number): number;
}

/** Several of them, each when it is due. */
export class Background {
  /** When the next of them is due. */
  private due = Number.NEGATIVE_INFINITY;
  private readonly dues: Float64Array;

  constructor(private readonly works: readonly BackgroundWork[]) {
    this.dues = new Float64Array(works.length).fill(this.due);
    if (works.length === 0) this.due = Number.POSITIVE_INFINITY;
  }

  /** Runs those that are due. Hot: mostly none is. */
  run(nowMs: number): void {
    if (nowMs < this.due) return;
    let due = Number.POSITIVE_INFINITY;
    for (let index = 0; index < this.works.length; index++) {
      if (nowMs >= this.dues[index]!) this.dues[index] = this.works[index]!.run(nowMs);
      due = Math.min(due, this.dues[index]!);
    }
    this.due = due;
  }
}
