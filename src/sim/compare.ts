/**
 * `iopf compare`: inputs × policies, over the cores; the face of this folder. The order of results
 * is that of the inputs.
 */
import { UserError } from '../input/user-error.js';
import { inlineRunner } from '../jobs/inline.js';
import type { JobOutcome, JobRunner } from '../jobs/job.js';
import { damageOf } from '../trace/recording.js';
import { modelOf, nameOf, policiesOf, publishedCosts, readInput, type Source } from './input.js';
import { OVERCOMMIT_RUNS, type OvercommitRow } from './overcommit.js';
import { parsePolicy } from './policy.js';
import type { CostComparison } from './published-costs.js';
import type { RunOutcome, RunRow } from './run.js';
import type { PublishedRow } from './scenario.js';
import { compareKind, type Task, type TaskResult } from './task.js';

export interface CompareRequest {
  readonly inputs: readonly Source[];
  /** Empty: those of the input, or the default ones. */
  readonly policies: readonly string[];
  /** Null: that of the input. */
  readonly model: Source | null;
  readonly seed: number;
  /** Who carries tasks out; by default this thread. */
  readonly runner?: JobRunner;
  /** Also draws address × time maps, for reports. */
  readonly withMaps?: boolean;
  /** Told of progress, five times a second and task. */
  readonly progress?: (progress: CompareProgress) => void;
}

export interface CompareProgress {
  readonly done: number;
  readonly total: number;
  /** What was done last, or goes on: its input and policy. */
  readonly what: string;
  /** The share that is done, 0 to 1: an estimate, because runs take different times. */
  readonly share: number;
  /** The comparison as far as it has come; null where there is nothing new, or it is not known. */
  soFar(): CompareResult | null;
}

/** A published figure beside the model's. */
export interface PublishedComparison {
  readonly messageBytes: number;
  readonly premapPages: number;
  readonly sends: number;
  readonly publishedFaults: number;
  readonly faults: number;
  readonly publishedSlowdownPercent: number;
  readonly slowdownPercent: number;
}

export interface Comparison {
  readonly runs: readonly RunRow[];
  /** Policies that cannot run an input. */
  readonly impossible?: readonly {
    readonly input: string;
    readonly policy: string;
    readonly why: string;
  }[];
  readonly published?: readonly PublishedComparison[];
  readonly publishedHostSva?: readonly PublishedComparison[];
  /** What was published about the costs of a model, beside what it says. */
  readonly publishedCosts?: readonly CostComparison[];
  readonly overcommit?: readonly OvercommitRow[];
}

export interface CompareResult {
  /** What `--json` has. */
  readonly comparison: Comparison;
  /** All outcomes of `runs` with their details, for reports. */
  readonly outcomes: readonly RunOutcome[];
  /** Inputs of which only a part could be used. */
  readonly warnings: readonly string[];
  /** Of recordings: the program that was recorded, by input. */
  readonly programs: Readonly<Record<string, string>>;
}

/** Throws UserError. */
export async function compare(request: CompareRequest): Promise<CompareResult> {
  const tasks: Task[] = [];
  const rows: PublishedRow[] = [];
  const warnings: string[] = [];
  const programs: Record<string, string> = {};
  const costs = new Map<string, readonly CostComparison[]>();
  const withMap = request.withMaps ?? false;
  for (const source of request.inputs) {
    const path = nameOf(source);
    const input = readInput(source);
    const model = request.model ?? modelOf(input);
    costs.set(nameOf(model), publishedCosts(model));
    if (input.kind === 'recording') {
      const damage = damageOf(path, input.recording);
      if (damage !== null) warnings.push(damage);
      programs[path] = input.recording.header.program;
    }
    const base = {
      source,
      model,
      seed: request.seed,
      published: null,
      leastMemory: false,
      withMap,
    };
    const severalVms = input.kind === 'scenario' && input.scenario.workload.kind === 'vms';
    for (const policy of request.policies.length > 0 ? request.policies : policiesOf(input)) {
      tasks.push({ ...base, policy });
      if (severalVms && parsePolicy(policy).memoryBytes === null)
        tasks.push({ ...base, policy, leastMemory: true });
    }
    if (input.kind === 'recording') continue;
    for (const list of ['vfioIopf', 'hostSva'] as const) {
      for (const [index, row] of (input.scenario.published?.[list] ?? []).entries()) {
        tasks.push({
          ...base,
          policy: `iopf:premap=${row.premapPages}`,
          published: { list, index },
        });
        rows.push(row);
      }
    }
  }
  for (const { policy } of tasks) parsePolicy(policy);
  const { progress } = request;
  const weights = tasks.map(({ leastMemory }) => (leastMemory ? OVERCOMMIT_RUNS : 1));
  const whole = weights.reduce((sum, weight) => sum + weight, 0);
  const shares: number[] = tasks.map(() => 0);
  const results: (JobOutcome<TaskResult> | undefined)[] = tasks.map(() => undefined);
  let done = 0;
  const tellProgress =
    progress === undefined
      ? null
      : (index: number, share: number): void => {
          shares[index] = share;
          if (share === 1) done++;
          progress({
            done,
            total: tasks.length,
            what: `${nameOf(tasks[index]!.source)}, ${tasks[index]!.policy}`,
            share: shares.reduce((sum, part, at) => sum + part * weights[at]!, 0) / whole,
            soFar: () =>
              share === 1 ? partly({ tasks, results, rows, warnings, programs }) : null,
          });
        };
  await (request.runner ?? inlineRunner).run(compareKind, tasks, {
    progress: (index, share) => tellProgress?.(index, share),
    done: (index, outcome) => {
      results[index] = outcome;
      tellProgress?.(index, 1);
    },
  });
  const { comparison, outcomes } = assemble(tasks, results, rows);
  const aboutCosts = [...costs.values()].flat();
  return {
    outcomes,
    comparison: {
      ...comparison,
      ...(aboutCosts.length > 0 ? { publishedCosts: aboutCosts } : {}),
    },
    warnings,
    programs,
  };
}

/** A comparison of which some results are still missing. */
function partly(parts: {
  tasks: readonly Task[];
  results: readonly (JobOutcome<TaskResult> | undefined)[];
  rows: readonly PublishedRow[];
  warnings: readonly string[];
  programs: Readonly<Record<string, string>>;
}): CompareResult | null {
  const { programs, results, rows, tasks, warnings } = parts;
  try {
    return { ...assemble(tasks, results, rows), warnings, programs };
  } catch (error) {
    if (error instanceof UserError) return null; // It is said at the end.
    throw error;
  }
}

function assemble(
  tasks: readonly Task[],
  results: readonly (JobOutcome<TaskResult> | undefined)[],
  rows: readonly PublishedRow[],
): Omit<CompareResult, 'warnings' | 'programs'> {
  const outcomes: RunOutcome[] = [];
  const overcommit: OvercommitRow[] = [];
  const published: Record<'vfioIopf' | 'hostSva', PublishedComparison[]> = {
    vfioIopf: [],
    hostSva: [],
  };
  let nextRow = 0;
  for (const [index, { published: place }] of tasks.entries()) {
    const task = tasks[index]!;
    const done = results[index];
    const row = place === null ? null : rows[nextRow++]!;
    if (done === undefined) continue;
    if (done.kind === 'failed') {
      const { policy, source } = task;
      const input = nameOf(source);
      if (!task.leastMemory && place === null)
        outcomes.push({ kind: 'impossible', input, policy, why: `failed: ${done.message}` });
      continue;
    }
    const { result } = done;
    if (result.kind === 'least-memory') overcommit.push(result.row);
    else if (place === null) outcomes.push(result.outcome);
    else published[place.list].push(beside(row!, result.outcome));
  }
  const runs = outcomes.flatMap((outcome) => (outcome.kind === 'done' ? [outcome.row] : []));
  const impossible = outcomes.flatMap((outcome) =>
    outcome.kind === 'done'
      ? []
      : [{ input: outcome.input, policy: outcome.policy, why: outcome.why }],
  );
  return {
    outcomes,
    comparison: {
      runs,
      ...(impossible.length > 0 ? { impossible } : {}),
      ...(published.vfioIopf.length > 0 ? { published: published.vfioIopf } : {}),
      ...(published.hostSva.length > 0 ? { publishedHostSva: published.hostSva } : {}),
      ...(overcommit.length > 0 ? { overcommit } : {}),
    },
  };
}

function beside(row: PublishedRow, outcome: RunOutcome): PublishedComparison {
  if (outcome.kind !== 'done')
    throw new UserError(`a published row of ${outcome.input}: ${outcome.why}`);
  return {
    messageBytes: row.messageBytes,
    premapPages: row.premapPages,
    sends: row.sends,
    publishedFaults: row.faults,
    faults: outcome.row.faults,
    publishedSlowdownPercent: row.slowdownPercent,
    slowdownPercent: outcome.row.slowdownPercent,
  };
}
