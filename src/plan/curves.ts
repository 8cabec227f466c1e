/** Makes curves over the cores, and keeps them by content: none is made twice. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { z } from 'zod';
import { UserError } from '../input/user-error.js';
import type { Curve } from '../sim/curve.js';
import { type CurveJob, keyOf, runCurveJob } from './curve-job.js';
import type { CurveAnswer } from './worker.js';

export interface CurveRequest {
  readonly jobs: readonly CurveJob[];
  /** Threads; 1: none beside this one, unless progress is told. */
  readonly threads: number;
  /** Where curves are kept; null: nowhere. */
  readonly cache: string | null;
  /** Of iopf: another one's curves are not taken. */
  readonly version: string;
  readonly progress?: (done: number, total: number, what: string) => void;
}

const amount = z.number().nonnegative();
const curveSchema = z.object({
  mappedBytes: amount,
  peakBytes: amount,
  points: z.array(z.object({ memoryBytes: amount, slowdownPercent: z.number(), faults: amount })),
  why: z.string().nullable(),
}) satisfies z.ZodType<Curve>;

/** In the order of the jobs. Throws UserError. */
export async function makeCurves(request: CurveRequest): Promise<Curve[]> {
  const { cache, jobs, version } = request;
  const keys = jobs.map((job) => keyOf(job, version));
  const known = new Map<string, Curve>();
  for (const key of keys) {
    const curve = cache === null ? null : keptCurve(join(cache, `${key}.json`));
    if (curve !== null) known.set(key, curve);
  }
  const missing = new Map<string, CurveJob>();
  for (const [index, key] of keys.entries()) if (!known.has(key)) missing.set(key, jobs[index]!);
  const made = await runJobs([...missing.values()], request);
  for (const [index, key] of [...missing.keys()].entries()) {
    known.set(key, made[index]!);
    if (cache !== null) keep(cache, key, made[index]!);
  }
  return keys.map((key) => known.get(key)!);
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
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const beside = join(folder, `.${key}.${process.pid}~`);
    writeFileSync(beside, JSON.stringify(curve), { mode: 0o600 });
    renameSync(beside, join(folder, `${key}.json`));
  } catch {
    // The next plan makes it again.
  }
}

async function runJobs(
  jobs: readonly CurveJob[],
  { progress, threads: most }: CurveRequest,
): Promise<Curve[]> {
  const threads = Math.min(most, jobs.length);
  if (threads <= 1 && progress === undefined) return jobs.map(runCurveJob);
  const curves: Curve[] = new Array(jobs.length);
  let next = 0;
  let done = 0;
  const serve = (worker: Worker): Promise<void> =>
    new Promise((resolve, reject) => {
      let index = -1;
      const give = (): void => {
        index = next++;
        if (index < jobs.length) worker.postMessage(jobs[index]);
        else resolve();
      };
      worker.on('error', reject);
      worker.on('message', (answer: CurveAnswer) => {
        if (answer.kind === 'refused') {
          reject(new UserError(answer.message));
          return;
        }
        curves[index] = answer.curve;
        progress?.(++done, jobs.length, `${jobs[index]!.name}, ${jobs[index]!.policy}`);
        give();
      });
      give();
    });
  const workers = Array.from(
    { length: threads },
    () => new Worker(new URL('./worker.js', import.meta.url)),
  );
  try {
    await Promise.all(workers.map(serve));
  } finally {
    for (const worker of workers) await worker.terminate();
  }
  return curves;
}
