/**
 * Splits the orders of a scenario by their first steps, for several machines or threads. Each order
 * is in one share: beginnings that lead to one state go on alike, so one of them stands for all.
 */
import { Violation } from '../verify/violation.js';
import type { Parts } from '../world/parts.js';
import type { Scenario } from '../world/scenario.js';
import { Execution } from './execution.js';
import { State } from './state.js';

export interface Share {
  /** Actors by number: how its orders begin. */
  readonly prefix: readonly number[];
  /** Beginnings that this one stands for, itself included. */
  readonly times: number;
}

export const ALL: Share = { prefix: [], times: 1 };

/** Shares do not know the states of each other: many would do much twice. */
const ENOUGH = 4;
const STEPS_MOST = 4;

/** Always the same, whoever carries the shares out. */
export function split(scenario: Scenario, parts: Parts): readonly Share[] {
  const execution = new Execution(scenario, parts);
  const before = new Set<number>();
  let shares: readonly Share[] = [ALL];
  for (let steps = 0; steps < STEPS_MOST && shares.length < ENOUGH; steps++)
    shares = oneStepOn(execution, shares, before);
  return shares;
}

function oneStepOn(
  execution: Execution,
  shares: readonly Share[],
  before: Set<number>,
): readonly Share[] {
  const next: Share[] = [];
  const placeOf = new Map<number, number>();
  for (const share of shares) {
    const state = stateAfter(execution, share.prefix);
    if (state === null || state.ready === 0) {
      next.push(share);
      continue;
    }
    before.add(state.key);
    for (const actor of execution.names.keys()) {
      if ((state.ready & (1 << actor)) === 0) continue;
      const prefix = [...share.prefix, actor];
      const key = stateAfter(execution, prefix)?.key;
      const place = key === undefined ? undefined : placeOf.get(key);
      if (place !== undefined) {
        next[place] = { ...next[place]!, times: next[place]!.times + share.times };
        continue;
      }
      // What leads back may be a round, which is one of its own beginning only.
      if (key !== undefined && !before.has(key)) placeOf.set(key, next.length);
      next.push({ prefix, times: share.times });
    }
  }
  return next;
}

/** Null where a step breaks something: whoever runs the share finds it. */
function stateAfter(execution: Execution, prefix: readonly number[]): State | null {
  const state = new State(execution.names.length);
  execution.start();
  state.take(execution);
  try {
    for (const actor of prefix) {
      execution.stepNoting(actor, state);
      state.take(execution);
    }
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    return null;
  }
  return state;
}
