/**
 * Runs one scenario as a user wants it: every order, then random ones, and the shortest order that
 * breaks something.
 */

import { Random } from '../../abi/random.js';
import { checkEnd, checkStep } from '../verify/invariants.js';
import { Invariant } from '../verify/violation.js';
import { type Parts, shippedParts, type Variant } from '../world/parts.js';
import type { Scenario } from '../world/scenario.js';
import { asViolation, Execution } from './execution.js';
import { type Exploration, type ExploreOptions, Explorer, type Found } from './explorer.js';
import { checkLength, firstRound } from './rounds.js';

export interface RandomRun {
  readonly orders: number;
  readonly seed: number;
  readonly found: Found | null;
}

export function partsOf(variant: Variant | null): Parts {
  return { ...shippedParts, ...variant?.parts };
}

/** Every order, and where one breaks something the shortest that does. */
export function findShortest(
  scenario: Scenario,
  parts: Parts,
  options: ExploreOptions = {},
): Exploration {
  const explorer = new Explorer(scenario, parts);
  const first = explorer.explore(options);
  let { found } = first;
  while (found !== null && found.order.length > 1) {
    const shorter: Exploration = explorer.explore({ ...options, stepsMax: found.order.length - 1 });
    if (shorter.found === null) break;
    found = shorter.found;
  }
  return { ...first, found };
}

/**
 * Random orders, as many as fit before `stop` says so. An order depends on the seed and its number
 * alone. One that has not ended after `STEPS_MAX` steps breaks something; where it goes round, its
 * first round is shown.
 */
export function runRandom(
  scenario: Scenario,
  parts: Parts,
  seed: number,
  stop: () => boolean,
): RandomRun {
  const execution = new Execution(scenario, parts);
  const random = new Random(seed);
  for (let orders = 0; ; orders++) {
    if (stop()) return { orders, seed, found: null };
    const order: number[] = [];
    try {
      execution.start();
      for (;;) {
        const ready = execution.names.map((_, i) => i).filter((i) => execution.isReady(i));
        if (ready.length === 0) break;
        checkLength(execution, order.length);
        const actor = ready[random.below(ready.length)]!;
        order.push(actor);
        execution.step(actor);
        checkStep(execution.world);
      }
      execution.checkEnded();
      checkEnd(execution.world);
    } catch (error) {
      const violation = asViolation(error);
      const round =
        violation.invariant === Invariant.PROGRESS ? firstRound(execution, order) : null;
      return { orders: orders + 1, seed, found: round ?? { violation, order } };
    }
  }
}
