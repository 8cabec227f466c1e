/** A piece of a comparison that runs by itself, anywhere: plain data in, plain data out. */
import type { FileSource } from '../input/file-source.js';
import { UserError } from '../input/user-error.js';
import type { JobKind } from '../jobs/job.js';
import {
  folderOf,
  type Input,
  isModelFile,
  nameOf,
  readInput,
  readModel,
  type ScenarioInput,
  type Source,
} from './input.js';
import { filesOf, kindsOf, usedPages, workloadsOf } from './machines.js';
import { type OvercommitRow, overcommit } from './overcommit.js';
import { parsePolicy } from './policy.js';
import { replay } from './replay.js';
import { type RunOutcome, type RunRequest, runOnce } from './run.js';
import { type Scenario, scenarioOfRow } from './scenario.js';

export interface Task {
  readonly source: Source;
  readonly policy: string;
  readonly model: Source;
  readonly seed: number;
  /** A published row of the scenario instead of its own numbers. */
  readonly published: { readonly list: 'vfioIopf' | 'hostSva'; readonly index: number } | null;
  /** The least memory instead of a run. */
  readonly leastMemory: boolean;
  readonly withMap: boolean;
}

export type TaskResult =
  | { readonly kind: 'run'; readonly outcome: RunOutcome }
  | { readonly kind: 'least-memory'; readonly row: OvercommitRow };

const PROGRESS_EVERY_MS = 200;

/** Its progress is the share that is done. */
export const compareKind: JobKind<Task, TaskResult, number> = {
  name: 'compare',
  run(task, { files, progress }) {
    let told = performance.now();
    return runTask(task, files, (share) => {
      const now = performance.now();
      if (share >= 1 || now - told < PROGRESS_EVERY_MS) return;
      told = now;
      progress(share);
    });
  },
  refusals: { user: UserError },
  filesOf({ model, source }) {
    const input = readInput(source);
    const named = input.kind === 'scenario' ? filesOf(input.scenario, folderOf(source)) : [];
    const own = typeof source === 'string' ? [source] : [];
    return [...own, ...named, ...(isModelFile(model) ? [model] : [])];
  },
  modulesOf: () => [],
  withModules: (task) => task,
  schemas: async () => (await import('./task-schemas.js')).taskSchemas,
};

function runTask(task: Task, files: FileSource, progress: (share: number) => void): TaskResult {
  const input = readInput(task.source, files);
  const request = { ...requestOf(input, task, files), progress };
  const spec = input.kind === 'scenario' ? input.scenario.workload : null;
  if (!task.leastMemory || spec?.kind !== 'vms') {
    const together = spec?.kind === 'vms' ? { usedPages: usedPages(spec) } : {};
    return { kind: 'run', outcome: runOnce({ ...request, ...together }) };
  }
  const row = overcommit(request, {
    kinds: kindsOf(spec, folderOf(task.source), files),
    boundPercent: spec.slowdownBound,
    hostBytes: spec.host ?? null,
  });
  return { kind: 'least-memory', row };
}

function requestOf(input: Input, task: Task, files: FileSource): RunRequest {
  const spec = input.kind === 'scenario' ? input.scenario.workload : null;
  const policy = parsePolicy(task.policy);
  return {
    input: nameOf(task.source),
    workloads:
      input.kind === 'recording'
        ? [replay(input.recording)]
        : workloadsOf(scenarioOf(input, task), folderOf(task.source), files),
    policy:
      spec?.kind === 'vms' && spec.host !== undefined && !task.leastMemory
        ? { ...policy, memoryBytes: policy.memoryBytes ?? spec.host }
        : policy,
    model: readModel(task.model, files),
    seed: task.seed,
    withMap: task.withMap,
  };
}

/** The scenario itself, or one of its published rows. */
function scenarioOf({ scenario }: ScenarioInput, { published }: Task): Scenario {
  if (published === null) return scenario;
  const row = scenario.published?.[published.list][published.index];
  if (row === undefined) throw new UserError('there is no such published row');
  return scenarioOfRow(scenario, row, published.list === 'hostSva');
}
