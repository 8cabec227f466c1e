/**
 * The curve of one class under one policy and seed: a pure function of plain data, so that it runs
 * in any thread and is kept under the hash of that data.
 */
import { createHash } from 'node:crypto';
import type { CostModel } from '../sim/cost-model.js';
import { type Curve, curveOf } from '../sim/curve.js';
import { type MachineSource, machineOf } from '../sim/machines.js';
import { parsePolicy } from '../sim/policy.js';

/** Counts up where the same data gives other curves. */
const CURVES_VERSION = 1;

export interface CurveJob {
  readonly name: string;
  readonly source: MachineSource;
  /** Names of files in the source are relative to it. */
  readonly folder: string;
  /** Of the file that the source names, or null. */
  readonly digest: string | null;
  readonly policy: string;
  readonly model: CostModel;
  readonly seed: number;
  readonly worstPercent: number;
}

export function runCurveJob(job: CurveJob): Curve {
  return curveOf(
    { input: job.name, policy: parsePolicy(job.policy), model: job.model, seed: job.seed },
    machineOf(job.source, job.folder),
    job.worstPercent,
  );
}

/** The same for the same result, whatever the class is called and wherever its file lies. */
export function keyOf(job: CurveJob, version: string): string {
  const { digest, model, policy, seed, source, worstPercent } = job;
  const what = digest === null ? (source.vm ?? null) : digest;
  const parts = [CURVES_VERSION, version, what, policy, model.costs, seed, worstPercent];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}
