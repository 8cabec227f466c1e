/** What is compared: a scenario or a recording, from a file. */
import { readFileSync } from 'node:fs';
import { UserError } from '../input/user-error.js';
import { type CostModel, parseCostModel } from './cost-model.js';
import { parseScenario, type Scenario } from './scenario.js';

/** The models that come with iopf; where this runs from source and where it is built. */
const MODEL_FOLDERS = ['../../models/', '../../../models/'];
const shippedModels = ['kunpeng920-stall', 'odp', 'fast', 'measured'];

export interface ScenarioInput {
  readonly kind: 'scenario';
  readonly path: string;
  readonly scenario: Scenario;
}

export type Input = ScenarioInput;

/** Throws UserError. */
export function readInput(path: string): Input {
  const bytes = read(path, 'the input');
  return { kind: 'scenario', path, scenario: parseScenario(bytes.toString('utf8'), path) };
}

/** A model by the name of one that comes with iopf, or from a file. Throws UserError. */
export function readModel(name: string): CostModel {
  if (!/[/.]/.test(name)) {
    if (!shippedModels.includes(name))
      throw new UserError(`unknown model "${name}"; shipped: ${shippedModels.join(', ')}; or a file's path`);
    for (const folder of MODEL_FOLDERS) {
      const url = new URL(`${folder}${name}.yaml`, import.meta.url);
      try {
        return parseCostModel(readFileSync(url, 'utf8'), `${name}.yaml`);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
    throw new UserError(`the model ${name} is missing from this installation`);
  }
  return parseCostModel(read(name, 'the model').toString('utf8'), name);
}

function read(path: string, what: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new UserError(`cannot read ${what} ${path}: ${(error as NodeJS.ErrnoException).code}`);
  }
}
