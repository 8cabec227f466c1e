import { Unsound } from '../verify/unsound.js';
import { State, UNKNOWN } from './state.js';

/** A state on the way to the one at hand. */
export class PathNode {
  readonly state: State;
  key = 0;
  /** Orders from here on that were counted so far. */
  orders = 0;
  cut = 0;
  /** Steps of the longest order from here on, as far as it was counted. */
  height = 0;
  /** Orders from here on where none is cut, if that was known before. */
  whole = UNKNOWN;
  /** The actor whose step is taken, and its place among those that take one from here. */
  chosen = -1;
  turn = -1;
  /** The state that its step is known to lead to, or `UNKNOWN`. */
  expected = UNKNOWN;

  constructor(actors: number) {
    this.state = new State(actors);
  }

  /** What came of its step is what was known to come of it. */
  checkLedTo(state: number): void {
    if (this.expected !== UNKNOWN && this.expected !== state)
      throw new Unsound('another thing came of a step than was known');
  }
}
