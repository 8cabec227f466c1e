/**
 * The curve of one class under one policy and seed: a pure function of plain data, so that it runs
 * anywhere and is kept under the hash of that data.
 */
import { createHash } from 'node:crypto';
import { UserError } from '../input/user-error.js';
import type { JobKind } from '../jobs/job.js';
import type { CostModel } from '../sim/cost-model.js';
import { type Curve, curveOf } from '../sim/curve.js';
import { fileOf, type MachineSource } from '../sim/machine-source.js';
import { machineOf } from '../sim/machines.js';
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

/** It tells no progress: a curve takes a second or two. */
export const curveKind: JobKind<CurveJob, Curve, never> = {
  name: 'curve',
  run: (job, { files }) =>
    curveOf(
      { input: job.name, policy: parsePolicy(job.policy), model: job.model, seed: job.seed },
      machineOf(job.source, job.folder, files),
      job.worstPercent,
    ),
  refusals: { user: UserError },
  filesOf({ folder, source }) {
    const file = fileOf(source, folder);
    return file === null ? [] : [file];
  },
  modulesOf: () => [],
  withModules: (job) => job,
  schemas: async () => (await import('./curve-schemas.js')).curveSchemas,
};

/** The same for the same result, whatever the class is called and wherever its file lies. */
export function keyOf(job: CurveJob, version: string): string {
  const { digest, model, policy, seed, source, worstPercent } = job;
  const what = digest === null ? (source.vm ?? null) : digest;
  const parts = [CURVES_VERSION, version, what, policy, model.costs, seed, worstPercent];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}
