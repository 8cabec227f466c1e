/** All kinds of jobs; a thread loads those that it is given. */
import type { JobKind } from '../jobs/job.js';

/** A kind whose types are known to itself only. */
export type AnyKind = JobKind<unknown, unknown, unknown>;
export type KindName = AnyKind['name'];

const loaders: Readonly<Record<KindName, () => Promise<unknown>>> = {
  curve: async () => (await import('../plan/curve-job.js')).curveKind,
  compare: async () => (await import('../sim/task.js')).compareKind,
  check: async () => (await import('../check/search/check-job.js')).checkKind,
};

export const kindNames = Object.keys(loaders) as KindName[];

export async function loadKind(name: KindName): Promise<AnyKind> {
  return (await loaders[name]()) as AnyKind;
}
