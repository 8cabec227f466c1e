import type { z } from 'zod';
import { threadRunner } from '../../jobs/thread-runner.js';
import { compare as compareSources, type Comparison as Rows } from '../compare.js';
import type { modelSchema } from '../cost-model.js';
import type { Source } from '../input.js';
import type { scenarioSchema } from '../scenario.js';

/** As its file, in YAML, says it: docs/scenarios.md. */
export type Scenario = z.input<typeof scenarioSchema>;

/** As its file, in YAML, says it: docs/models.md. */
export type Model = z.input<typeof modelSchema>;

export interface NamedScenario {
  /** What results and errors call it. */
  readonly name: string;
  readonly scenario: Scenario;
}

export interface CompareOptions {
  /** Files (scenarios, recordings), and scenarios themselves. */
  readonly inputs: readonly (string | NamedScenario)[];
  /** `static`, `iopf:premap=8`; those of the input, or all that are usual, unless given. */
  readonly policies?: readonly string[];
  /** One that comes with iopf, by its name, a file, or a model; that of the input unless given. */
  readonly model?: string | Model;
  /** Of random workloads: a whole number below 2^32; 1 unless given. */
  readonly seed?: number;
  /** Threads beside this one; 1, which is the default: none, and this one does all. */
  readonly jobs?: number;
}

/** What `iopf compare --json` has. */
export interface Comparison extends Rows {
  /** Inputs of which only a part could be used, in a sentence each. */
  readonly warnings: readonly string[];
}

/** Runs each input under each policy. Throws an Error about what is wrong with an input. */
export async function compare(options: CompareOptions): Promise<Comparison> {
  const { inputs, jobs = 1, model, policies = [], seed = 1 } = options;
  const { comparison, warnings } = await compareSources({
    inputs: inputs.map((input) =>
      typeof input === 'string' ? input : source(input.name, input.scenario),
    ),
    policies,
    model:
      model === undefined || typeof model === 'string'
        ? (model ?? null)
        : source('the model', model),
    seed,
    ...(jobs > 1 ? { runner: threadRunner(jobs) } : {}),
  });
  return { ...comparison, warnings };
}

/** JSON is YAML. */
function source(name: string, value: object): Source {
  return { name, text: JSON.stringify(value, null, 2) };
}
