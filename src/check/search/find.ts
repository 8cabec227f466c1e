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
import type { Exploration, ExploreOptions, Found } from './exploration.js';
import { Explorer } from './explorer.js';
import { checkLength, firstRound, STEPS_MAX } from './rounds.js';

export interface RandomRun {
  readonly orders: number;
  readonly seed: number;
  readonly found: Found | null;
}

export function partsOf(variant: Variant | null): Parts {
  return { ...shippedParts, ...variant?.parts };
}

/**
 * Every order, and where one breaks something the shortest that does, however it begins.
 */
export function findShortest(
  scenario: Scenario,
  parts: Parts,
  options: ExploreOptions = {},
): Exploration {
  const explorer = new Explorer(scenario, parts);
  const first = explorer.explore(options);
  let { found } = first;
  while (found !== null && found.order.length > 1) {
    const shorter: Exploration = explorer.explore({
      ...options,
      prefix: [],
      stepsMax: found.order.length - 1,
    });
    if (shorter.found === null) break;
    found = shorter.found;
  }
  return { ...first, found };
}

/**
 * Random orders, as many as fit before `stop` says so. An order depends on the seed and its number
 * alone; it begins with the prefix, and is cut after so many steps. One that has not ended after
 * `STEPS_MAX` steps breaks something; where it goes round, its first round is shown.
 */
export function runRandom(
  scenario: Scenario,
  parts: Parts,
  seed: number,
  stop: () => boolean,
  { prefix = [], stepsMax = STEPS_MAX }: Pick<ExploreOptions, 'prefix' | 'stepsMax'> = {},
): RandomRun {
  const execution = new Execution(scenario, parts);
  const random = new Random(seed);
  for (let orders = 0; ; orders++) {
    if (stop()) return { orders, seed, found: null };
    const order: number[] = [];
    try {
      execution.start();
      let isCut = false;
      while (!isCut) {
        const ready = execution.names.map((_, i) => i).filter((i) => execution.isReady(i));
        if (ready.length === 0) break;
        checkLength(execution, order.length);
        const actor = prefix[order.length] ?? ready[random.below(ready.length)]!;
        order.push(actor);
        execution.step(actor);
        checkStep(execution.world);
        isCut = stepsMax < STEPS_MAX && order.length === stepsMax;
      }
      if (isCut) continue;
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
