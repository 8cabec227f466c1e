/** What happened in one order, step by step, in words. */
import { asViolation, Execution } from '../search/execution.js';
import { checkLength, RoundWatch } from '../search/rounds.js';
import { checkEnd, checkStep } from '../verify/invariants.js';
import type { Violation } from '../verify/violation.js';
import { isOperation, notePlaces } from '../world/operation.js';
import type { Parts } from '../world/parts.js';
import type { Scenario } from '../world/scenario.js';
import { type Facts, factsOf } from './facts.js';

export interface HistoryStep {
  readonly actor: string;
  /** What the actor was about to do: an operation, or where it goes on. */
  readonly what: string;
  /** `file:line` of an operation that a user's file begins; null: in no such file. */
  readonly place: string | null;
  /** What is another than before. */
  readonly changes: readonly string[];
}

export interface History {
  readonly steps: readonly HistoryStep[];
  readonly violation: Violation | null;
}

/**
 * Runs one order and writes down what it did. An order that ends early is only a beginning, which
 * is fine.
 */
export function replay(scenario: Scenario, parts: Parts, order: readonly number[]): History {
  notePlaces(true);
  try {
    return replayed(scenario, parts, order);
  } finally {
    notePlaces(false);
  }
}

function replayed(scenario: Scenario, parts: Parts, order: readonly number[]): History {
  const execution = new Execution(scenario, parts);
  const steps: HistoryStep[] = [];
  let violation: Violation | null = null;
  execution.start();
  const watch = new RoundWatch(execution);
  let facts = factsOf(execution.world);
  for (const actor of order) {
    const wait = execution.waits[actor];
    if (wait === null || wait === undefined || !execution.isReady(actor)) {
      throw new RangeError(`step ${steps.length + 1} is of an actor that cannot go on`);
    }
    const what = wait.what.replace(/^step: /, '… ');
    const place = isOperation(wait) ? wait.place : null;
    try {
      watch.step(actor);
    } catch (error) {
      violation = asViolation(error);
    }
    const after = factsOf(execution.world);
    steps.push({ actor: execution.names[actor]!, what, place, changes: differences(facts, after) });
    facts = after;
    try {
      if (violation === null) {
        checkStep(execution.world);
        watch.check();
      }
    } catch (error) {
      violation = asViolation(error);
    }
    if (violation !== null) return { steps, violation };
  }
  try {
    if (execution.names.every((_, i) => !execution.isReady(i))) {
      execution.checkEnded();
      checkEnd(execution.world);
    } else checkLength(execution, order.length);
  } catch (error) {
    violation = asViolation(error);
  }
  return { steps, violation };
}

function differences(before: Facts, after: Facts): string[] {
  const changes: string[] = [];
  for (const [what, now] of after) {
    const old = before.get(what);
    if (old !== now)
      changes.push(old === undefined ? `${what}: ${now}` : `${what}: ${old} → ${now}`);
  }
  for (const [what, old] of before) if (!after.has(what)) changes.push(`${what}: ${old} → gone`);
  return changes;
}
