import type { Flow } from '../../flow/flow.js';
import type { World } from './world.js';
import type { WorldOptions } from './world-options.js';

/**
 * A small program of several actors. An actor is a flow over the world's operations; every order of
 * their steps is run. Between operations an actor may only use what operations returned to it: it
 * may not read the world.
 */
export interface Scenario {
  /** Lower case, words with hyphens: the name on the command line. */
  readonly name: string;
  /** One sentence for the report. */
  readonly about: string;
  /** Rows of docs/series.md that it covers. */
  readonly rows: readonly string[];
  readonly world?: WorldOptions;
  /** What has happened before: run as one step. */
  readonly setup?: (world: World) => Flow<unknown>;
  readonly actors: Readonly<Record<string, (world: World) => Flow<unknown>>>;
  /** What must hold when every actor has ended, beyond the invariants: throws a `Violation`. */
  readonly after?: (world: World) => void;
}
