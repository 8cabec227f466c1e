/** A thread that makes curves. Entry point of a worker. */
import { parentPort } from 'node:worker_threads';
import { UserError } from '../input/user-error.js';
import type { Curve } from '../sim/curve.js';
import { type CurveJob, runCurveJob } from './curve-job.js';

export type CurveAnswer =
  | { readonly kind: 'done'; readonly curve: Curve }
  | { readonly kind: 'refused'; readonly message: string };

parentPort?.on('message', (job: CurveJob) => {
  let answer: CurveAnswer;
  try {
    answer = { kind: 'done', curve: runCurveJob(job) };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    answer = { kind: 'refused', message: error.message };
  }
  parentPort!.postMessage(answer);
});
