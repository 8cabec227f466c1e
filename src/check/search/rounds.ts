/** Orders that do not end: those that go round, and those that go on and on. */

import { Invariant, Violation, violated } from '../verify/violation.js';
import type { Execution } from './execution.js';
import type { Found } from './exploration.js';
import { State } from './state.js';

/** Steps of an order: one that has not ended by then is taken for one that never does. */
export const STEPS_MAX = 1000;

/** Runs one order of an execution that has been started, and sees where it goes round. */
export class RoundWatch {
  private readonly state: State;
  /** By state: after how many steps it was there first. */
  private readonly met = new Map<number, number>();
  /** By step: bits of the actors that took it, have ended or could not have gone on. */
  private readonly turns: number[] = [];

  constructor(private readonly execution: Execution) {
    this.state = new State(execution.names.length);
    this.met.set(this.look(), 0);
  }

  /** The next step. What it throws comes out as a `Violation`. */
  step(actor: number): void {
    this.turns.push(turnOf(actor, this.state));
    this.execution.stepNoting(actor, this.state);
  }

  /** Throws a `Violation` where steps led back to a state before them, and everybody had a turn. */
  check(): void {
    const { turns, met } = this;
    const state = this.look();
    const before = met.get(state);
    if (before === undefined) {
      met.set(state, turns.length);
      return;
    }
    checkRound(turns.slice(before), this.execution.names.length);
  }

  private look(): number {
    this.state.take(this.execution);
    return this.state.key;
  }
}

/** Bits of the actors that take a step from a state, have ended or cannot go on. */
export function turnOf(actor: number, state: State): number {
  return (1 << actor) | ~state.ready;
}

/**
 * Throws a `Violation` where a round is fair: everybody who has not ended took a step in it, or
 * could not have at some time.
 */
export function checkRound(turns: readonly number[], actors: number): void {
  const all = (1 << actors) - 1;
  const fair = turns.reduce((bits, turn) => bits | turn, 0);
  if ((fair & all) === all)
    violated(Invariant.PROGRESS, null, `${turns.length} steps lead back to the state before them`);
}

/** Throws a `Violation` where an order of so many steps should have ended. */
export function checkLength({ names, waits }: Execution, steps: number): void {
  if (steps < STEPS_MAX) return;
  const going = names.flatMap((name, i) => {
    const wait = waits[i];
    return wait ? [`${name} at ${wait.what}`] : [];
  });
  if (going.length !== 0)
    violated(
      Invariant.PROGRESS,
      null,
      `${STEPS_MAX.toLocaleString('en-US')} steps and no end: ${going.join('; ')}`,
    );
}

/** The beginning of an order up to where it has gone round, or null where it does not. */
export function firstRound(execution: Execution, order: readonly number[]): Found | null {
  execution.start();
  const watch = new RoundWatch(execution);
  for (let i = 0; i < order.length; i++) {
    try {
      watch.step(order[i]!);
      watch.check();
    } catch (violation) {
      if (!(violation instanceof Violation)) throw violation;
      return { violation, order: order.slice(0, i + 1) };
    }
  }
  return null;
}
