/**
 * Paths that can wait.
 *
 * Terms: a *flow* is a path written as a generator; between two yields it is atomic. It yields the
 * *wait* it is in: what must come true before it may go on. A *runner* decides which flow goes
 * next: direct (to the end now), virtual time, explorer.
 */

/**
 * What a flow waits for. A flow may be resumed only when `ready` answers true, and must then
 * re-check what it relies on.
 */
export interface Wait {
  /** What is waited for, for reports: `drain of 0000:02:00.0`. */
  readonly what: string;
  ready(): boolean;
  /** Ready at any time: a point where another path may come in between. */
  readonly always?: true;
  /**
   * What the path has read before and still relies on; null: nothing. Absent where that is not
   * known. For runners that compare states.
   */
  readonly reliesOn?: object | null;
}

/** A path that can wait and ends in a `T`. */
export type Flow<T> = Generator<Wait, T, void>;

/** A point where another path may come in between, named by what the path has reached. */
export function step(reached: string): Wait {
  return { what: `step: ${reached}`, always: true, ready: () => true };
}

/** `step` at which the path relies on nothing that it has read. */
export function freshStep(reached: string): Wait {
  return { what: `step: ${reached}`, always: true, ready: () => true, reliesOn: null };
}

/**
 * Keeps control paths of one object apart: the holder runs from `acquire` to `release`, others
 * wait.
 */
export class FlowLock {
  private held = false;
  private readonly wait: Wait;

  constructor(name: string) {
    this.wait = { what: name, ready: () => !this.held };
  }

  *acquire(): Flow<void> {
    while (this.held) yield this.wait;
    this.held = true;
  }

  /** Acquires another one, too, both in one step; that may be this very one. */
  *acquireWith(other: FlowLock): Flow<void> {
    const ready = (): boolean => !this.held && !other.held;
    while (!ready()) yield { what: this.wait.what, ready };
    this.held = true;
    other.held = true;
  }

  release(): void {
    this.held = false;
  }

  get isHeld(): boolean {
    return this.held;
  }
}
