/** A piece of a comparison that runs by itself, in any thread: plain data in, plain data out. */
import {
  folderOf,
  type Input,
  nameOf,
  readInput,
  readModel,
  type ScenarioInput,
  type Source,
} from './input.js';
import { type OvercommitRow, overcommit } from './overcommit.js';
import { parsePolicy } from './policy.js';
import { replay } from './replay.js';
import { type RunOutcome, type RunRequest, runOnce } from './run.js';
import { kindsOf, type Scenario, scenarioOfRow, workloadsOf } from './scenario.js';

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

/** `progress` is told now and then which share of it is done. Throws UserError. */
export function runTask(task: Task, progress: (share: number) => void = () => {}): TaskResult {
  const input = readInput(task.source);
  const request = { ...requestOf(input, task), progress };
  const spec = input.kind === 'scenario' ? input.scenario.workload : null;
  if (!task.leastMemory || spec?.kind !== 'vms') return { kind: 'run', outcome: runOnce(request) };
  const row = overcommit(request, {
    kinds: kindsOf(spec, folderOf(task.source)),
    boundPercent: spec.slowdownBound,
    hostBytes: spec.host ?? null,
  });
  return { kind: 'least-memory', row };
}

function requestOf(input: Input, task: Task): RunRequest {
  const spec = input.kind === 'scenario' ? input.scenario.workload : null;
  const policy = parsePolicy(task.policy);
  return {
    input: nameOf(task.source),
    workloads:
      input.kind === 'recording'
        ? [replay(input.recording)]
        : workloadsOf(scenarioOf(input, task), folderOf(task.source)),
    policy:
      spec?.kind === 'vms' && spec.host !== undefined && !task.leastMemory
        ? { ...policy, memoryBytes: policy.memoryBytes ?? spec.host }
        : policy,
    model: readModel(task.model),
    seed: task.seed,
    withMap: task.withMap,
  };
}

/** The scenario itself, or one of its published rows. */
function scenarioOf({ scenario }: ScenarioInput, { published }: Task): Scenario {
  if (published === null) return scenario;
  const row = scenario.published![published.list][published.index]!;
  return scenarioOfRow(scenario, row, published.list === 'hostSva');
}
