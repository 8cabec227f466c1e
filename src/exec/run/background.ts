/** Work beside the loop's own, done in slices short enough that no device waits for it. */
export interface BackgroundWork {
  /** When it is to run next, by the clock in milliseconds; that may change at any time. */
  readonly dueMs: number;
  /** Does a slice. */
  run(nowMs: number): void;
}

/** Several of them, each when it is due. */
export class Background {
  constructor(private readonly works: readonly BackgroundWork[]) {}

  /** Runs those that are due. Hot: mostly none is. */
  run(nowMs: number): void {
    for (let index = 0; index < this.works.length; index++) {
      const work = this.works[index]!;
      if (nowMs >= work.dueMs) work.run(nowMs);
    }
  }
}
