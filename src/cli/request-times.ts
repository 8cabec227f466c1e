/** `iopf exec --model`. Loaded where a model is named. */
import type { RequestTimes } from '../exec/run/modelled-time.js';
import { faultUs } from '../sim/cost-model.js';
import { readModel } from '../sim/input.js';

/** How long page requests take by a model, a shipped one or a file's. Throws UserError. */
export function requestTimes(name: string): RequestTimes {
  const { costs, name: model } = readModel(name);
  const { extraPage, invalidate } = costs;
  return { model, fault: faultUs(costs, 1, 0), extraPage, invalidate };
}
