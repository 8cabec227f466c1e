/** Makes curves, and keeps them by content: none is made twice. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeFolder } from '../input/make-folder.js';
import type { JobOutcome, JobRunner } from '../jobs/job.js';
import type { Curve } from '../sim/curve.js';
import { type CurveJob, curveKind, keyOf } from './curve-job.js';
import { curveSchema } from './curve-schemas.js';

export interface CurveRequest {
  readonly jobs: readonly CurveJob[];
  readonly runner: JobRunner;
  /** Where curves are kept; null: nowhere. */
  readonly cache: string | null;
  /** Of iopf: another one's curves are not taken. */
  readonly version: string;
  readonly progress?: (done: number, total: number, what: string) => void;
}

/** In the order of the jobs. Throws UserError. */
export async function makeCurves(request: CurveRequest): Promise<JobOutcome<Curve>[]> {
  const { cache, jobs, progress, runner, version } = request;
  const keys = jobs.map((job) => keyOf(job, version));
  const known = new Map<string, JobOutcome<Curve>>();
  for (const key of keys) {
    const curve = cache === null ? null : keptCurve(join(cache, `${key}.json`));
    if (curve !== null) known.set(key, { kind: 'done', result: curve });
  }
  const missing = distinct(jobs, version);
  for (const key of known.keys()) missing.delete(key);
  const wanted = [...missing.values()];
  let done = 0;
  const made = await runner.run(curveKind, wanted, {
    done: (index) =>
      progress?.(++done, wanted.length, `${wanted[index]!.name}, ${wanted[index]!.policy}`),
  });
  for (const [index, key] of [...missing.keys()].entries()) {
    const outcome = made[index]!;
    known.set(key, outcome);
    if (cache !== null && outcome.kind === 'done') keep(cache, key, outcome.result);
  }
  return keys.map((key) => known.get(key)!);
}

/** Jobs whose results are not those of others, by what decides them. */
export function distinct(jobs: readonly CurveJob[], version: string): Map<string, CurveJob> {
  const all = new Map<string, CurveJob>();
  for (const job of jobs) {
    const key = keyOf(job, version);
    if (!all.has(key)) all.set(key, job);
  }
  return all;
}

/** Null: there is none that can be used. */
function keptCurve(path: string): Curve | null {
  try {
    return curveSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return null;
  }
}

/** A cache that cannot be written costs time only. */
function keep(folder: string, key: string, curve: Curve): void {
  try {
    makeFolder(folder);
    const beside = join(folder, `.${key}.${process.pid}~`);
    writeFileSync(beside, JSON.stringify(curve), { mode: 0o600 });
    renameSync(beside, join(folder, `${key}.json`));
  } catch {
    // The next plan makes it again.
  }
}
