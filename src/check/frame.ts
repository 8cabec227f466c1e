import { KnownStep } from './known-step.js';
import { State } from './state.js';

/** Instead of a number of orders or a state: not known. */
export const UNKNOWN = Number.NEGATIVE_INFINITY;

/** A state on the way to the one at hand. */
export class Frame {
  key = 0;
  /** The state that is known to come of its step, or `UNKNOWN`. */
  expected = UNKNOWN;
  /** Orders from here on that were counted so far. */
  orders = 0;
  /** The actor whose step is taken, and its place among those that take one from here. */
  chosen = -1;
  turn = -1;
  readonly state: State;
  /** By actor: its step, where what comes of it is known; and a place for it. */
  readonly known: (KnownStep | null)[] = [];
  readonly steps: KnownStep[] = [];

  constructor(actors: number) {
    this.state = new State(actors);
    for (let actor = 0; actor < actors; actor++) {
      this.known.push(null);
      this.steps.push(new KnownStep(actor));
    }
  }
}
