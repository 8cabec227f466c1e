/** How often a loop looks at devices that do not tell when they have work. */

/** Milliseconds without work after which the loop stops spinning and sleeps between looks. */
const SPIN_MS = 0.3;
/** Sleeps between looks grow from the first to the last of these. */
const SLEEP_LEAST_MS = 0.05;
const SLEEP_MOST_MS = 0.25;
const SLEEP_GROWTH = 1.2;

/** Times are milliseconds on the clock of whoever asks. */
export class Pace {
  private lastWorkMs = 0;
  private sleepMs = SLEEP_LEAST_MS;

  /** There was work. */
  worked(nowMs: number): void {
    this.lastWorkMs = nowMs;
    this.sleepMs = SLEEP_LEAST_MS;
  }

  /** Milliseconds to sleep before the next look; 0: look again at once. */
  pauseMs(nowMs: number): number {
    if (nowMs - this.lastWorkMs < SPIN_MS) return 0;
    const { sleepMs } = this;
    this.sleepMs = Math.min(sleepMs * SLEEP_GROWTH, SLEEP_MOST_MS);
    return sleepMs;
  }
}
