/**
 * Node waits for its children by number, in the main thread, when a SIGCHLD comes, and would take
 * the stop of a traced one for its exit. While the engine traces, that thread stands still.
 */

export interface HoldRequest {
  readonly kind: 'hold';
  /** One of the states below. */
  readonly gate: Int32Array;
}

const ASKED = 0;
const HELD = 1;
const OVER = 2;
/** The main thread may be writing a file of the host. */
const PATIENCE_MS = 2000;

/** The engine's side. */
export class Reaper {
  constructor(private readonly post: (request: HoldRequest) => void) {}

  /** Does something while nobody waits for children; false: that could not be had. */
  hold(work: () => void): boolean {
    const gate = new Int32Array(new SharedArrayBuffer(4));
    this.post({ kind: 'hold', gate });
    Atomics.wait(gate, 0, ASKED, PATIENCE_MS);
    if (Atomics.compareExchange(gate, 0, ASKED, OVER) === ASKED) return false;
    try {
      work();
      return true;
    } finally {
      Atomics.store(gate, 0, OVER);
      Atomics.notify(gate, 0);
    }
  }
}

/** The main thread's side. */
export function standStill({ gate }: HoldRequest): void {
  if (Atomics.compareExchange(gate, 0, ASKED, HELD) !== ASKED) return;
  Atomics.notify(gate, 0);
  Atomics.wait(gate, 0, HELD);
}
