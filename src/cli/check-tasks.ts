/** What a check has to do, in pieces that its user counts: scenarios, or variants. */
import { Bug } from '../abi/bug.js';
import { wholeOf } from '../check/report/whole.js';
import { type Bound, sizeIn } from '../check/search/bound.js';
import type { CheckAnswer } from '../check/search/check-job.js';
import type { Job } from '../check/search/job.js';
import type { Ref, ScenarioReport } from '../check/search/run-scenario.js';
import type { JobOutcome } from '../jobs/job.js';
import { inThreads } from './check-threads.js';

/** Jobs that are one to the user: the shares of a scenario's orders, or one alone. */
export type Task = readonly Job[];

/** How far each task goes. */
interface Extent {
  readonly states: number;
  readonly random: number;
  readonly seed: number;
  readonly bound?: Bound;
  /** Threads that look how orders are split. */
  readonly jobs: number;
}

/** A task for each variant, which the scenarios are to find out; without any, for each scenario. */
export async function tasksFor(
  scenarios: readonly Ref[],
  wanted: readonly Ref[],
  options: Extent,
): Promise<Task[]> {
  const { states: statesMax, random: randomSeconds, seed, bound } = options;
  const size = bound === undefined ? null : sizeIn(bound);
  const stepsMax = bound?.steps ?? null;
  const common = { statesMax, randomSeconds, seed, stepsMax, size, share: null };
  if (wanted.length !== 0) return wanted.map((variant) => [{ scenarios, variant, ...common }]);
  const jobs = scenarios.map((ref): Job => ({ scenarios: [ref], variant: null, ...common }));
  if (size === null) return jobs.map((job) => [job]);
  const answers = await inThreads(
    scenarios.map((ref) => ({ kind: 'split', ref, size })),
    options.jobs,
  );
  return answers.map((answer, i) => {
    if (answer.kind !== 'shares') throw new Bug('a split was answered with something else');
    const { shares } = answer;
    return shares.length === 1 ? [jobs[i]!] : shares.map((share) => ({ ...jobs[i]!, share }));
  });
}

/** The reports of a task, by its outcomes: those of several shares are one. */
export function reportsOf(outcomes: readonly JobOutcome<CheckAnswer>[]): readonly ScenarioReport[] {
  const reports = outcomes.flatMap((outcome) =>
    outcome.kind === 'done' && outcome.result.kind === 'reports' ? outcome.result.reports : [],
  );
  return outcomes.length === 1 || reports.length === 0
    ? reports
    : [wholeOf(reports, outcomes.length)];
}

/** Scenarios that need not be run any more: once one has found a variant out, the rest need not. */
export function countDone(tasks: readonly Task[], reports: readonly ScenarioReport[]): number {
  let done = reports.filter(({ variant }) => variant === null).length;
  for (const [job] of tasks) {
    const { variant, scenarios } = job!;
    if (variant === null) continue;
    const own = reports.filter((report) => report.variant === variant.name);
    done += own.some(({ violations }) => violations.length !== 0) ? scenarios.length : own.length;
  }
  return done;
}

export function countAll(tasks: readonly Task[]): number {
  return tasks.reduce((sum, [job]) => sum + job!.scenarios.length, 0);
}
