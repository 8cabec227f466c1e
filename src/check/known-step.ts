/**
 * What a step did. What it does is decided by what its actor remembers and by the sides of the world that it sees: while others
 * change neither, the same comes of it, and it is not run again. This is the partial-order reduction of `iopf check`: two steps
 * that do not see each other lead to one state in either order, and the second order is not run to find that out. Every state is
 * still visited, because the invariants are checked in each.
 */
import { Side } from './operation.js';
import type { State } from './state.js';

export class KnownStep {
  /** Sides that it saw. */
  sees = 0;
  /** Sides that it changed. */
  changes = 0;
  /** Digests of the sides after it. */
  container = 0;
  memory = 0;
  /** How often what page-ins rely on changed. */
  moved = 0;
  /** The actor after it. */
  ready = false;
  kind = 0;
  local = 0;
  holds = 0;

  constructor(readonly actor: number) {}

  /** The step led from one state to another. */
  note(before: State, after: State, sees: number): void {
    const { actor } = this;
    this.sees = sees;
    this.changes =
      (before.container === after.container ? 0 : Side.CONTAINER) |
      (before.memory === after.memory ? 0 : Side.MEMORY);
    this.container = after.container;
    this.memory = after.memory;
    this.moved = after.history - before.history;
    this.ready = (after.ready & (1 << actor)) !== 0;
    this.kind = after.kinds[actor]!;
    this.local = after.locals[actor]!;
    this.holds = after.holds[actor]!;
  }
}
