import type { Wait } from '../../flow/flow.js';
import { Operation } from '../world/operation.js';
import type { ScenarioOf, ScenarioWorld } from '../world/scenario-world.js';

/** A scenario of yours; a file for `iopf check` exports some. */
export type Scenario = ScenarioOf<ScenarioWorld>;

/** The beginning of an operation of your own: `yield operation('looks away')`. */
export function operation(does: string): Wait {
  return new Operation(does);
}
