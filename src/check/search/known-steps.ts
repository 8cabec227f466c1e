/**
 * Steps that were run. What a step does is decided by what its actor knows and by the sides of the
 * world that it accesses: where both are as they were, whatever the others have done in between,
 * the same comes of it, and it is not run again. This is the partial-order reduction of `iopf
 * check`: two steps that access no side in common lead to one state in either order, and the second
 * order is not run to find that out. Every state is still visited, because the invariants are
 * checked in each.
 */
import { Side } from '../world/operation.js';
import type { State } from './state.js';

/** What came of a step. */
export class KnownStep {
  /** Sides that it changed. */
  readonly changes: number;
  /** Digests of the sides after it. */
  readonly container: number;
  readonly memory: number;
  /** How often what page-ins rely on changed. */
  readonly moved: number;
  /** Its actor after it, as in a `State`. */
  readonly ready: boolean;
  readonly kind: number;
  readonly knows: number;

  constructor(
    readonly actor: number,
    /** Sides that it accessed. */
    readonly accessed: number,
    before: State,
    after: State,
  ) {
    this.changes =
      (before.container === after.container ? 0 : Side.CONTAINER) |
      (before.memory === after.memory ? 0 : Side.MEMORY);
    this.container = after.container;
    this.memory = after.memory;
    this.moved = after.history - before.history;
    this.ready = (after.ready & (1 << actor)) !== 0;
    this.kind = after.kinds[actor]!;
    this.knows = after.knows[actor]!;
  }
}

export class KnownSteps {
  private readonly steps = new Map<number, KnownStep>();
  /** By actor, bit by sides: there was a step of it that accessed just these. */
  private readonly seen: number[];

  constructor(actors: number) {
    this.seen = new Array(actors).fill(0);
  }

  clear(): void {
    this.steps.clear();
  }

  add(step: KnownStep, before: State): void {
    this.seen[step.actor]! |= 1 << step.accessed;
    this.steps.set(before.nameOfStep(step.actor, step.accessed), step);
  }

  /** What comes of an actor's step, or null where that is not known. */
  find(state: State, actor: number): KnownStep | null {
    const seen = this.seen[actor]!;
    for (let sides = 1; sides <= Side.BOTH; sides++) {
      if ((seen & (1 << sides)) === 0) continue;
      const step = this.steps.get(state.nameOfStep(actor, sides));
      if (step !== undefined) return step;
    }
    return null;
  }
}
