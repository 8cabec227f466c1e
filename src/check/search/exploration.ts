/** What a search for orders is asked, and what came of it. */
import type { Violation } from '../verify/violation.js';

export interface Found {
  readonly violation: Violation;
  /** Actors by number, in the order of their steps. */
  readonly order: readonly number[];
}

export interface Exploration {
  /** Orders that were run or that meet one that was run, up to 2^53 exactly. */
  readonly orders: number;
  readonly states: number;
  /** Runs from the beginning. */
  readonly runs: number;
  /** Steps that were not run because their outcome was known. */
  readonly stepsKnown: number;
  /**
   * Times that steps led back to a state of the same order: without fairness such an order need not
   * end, and is not counted.
   */
  readonly rounds: number;
  /** Beginnings of `stepsMax` steps whose orders go on; they are not in `orders`. */
  readonly cut: number;
  /** States were too many, or somebody stopped it: orders are left out beyond those cut. */
  readonly endedEarly: boolean;
  /** Every order was covered. */
  readonly exhaustive: boolean;
  /** The longest order, in steps. */
  readonly longest: number;
  readonly found: Found | null;
}

export interface ExploreOptions {
  /** Orders that begin so: actors by number (default: all orders). */
  readonly prefix?: readonly number[];
  /** Orders are cut after so many steps (default `STEPS_MAX`). */
  readonly stepsMax?: number;
  /** States after which exploring ends without being exhaustive (default 2 million). */
  readonly statesMax?: number;
  /** False: every order is run by itself, states that were seen before included. */
  readonly merge?: boolean;
  /**
   * False: a step is run also where what comes of it is known, and a `Bug` where another thing
   * comes of it. With `merge` false that shows whether states tell all that decides.
   */
  readonly reduce?: boolean;
  /** Asked now and then; true ends the exploration. */
  readonly stop?: () => boolean;
  /** Told now and then. */
  readonly progress?: (states: number) => void;
}
