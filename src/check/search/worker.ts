/** A thread of `iopf check`: runs the jobs that it is sent, one at a time. */
import { parentPort } from 'node:worker_threads';
import { Unsound } from '../verify/unsound.js';
import { type Job, runJob } from './job.js';
import type { WorkerMessage } from './pool.js';

const send = (message: WorkerMessage): void => parentPort!.postMessage(message);

parentPort!.on('message', async (job: Job) => {
  try {
    await runJob(
      job,
      (report) => send({ kind: 'report', report }),
      (scenario, states) => send({ kind: 'progress', scenario, states }),
    );
  } catch (error) {
    if (!(error instanceof Unsound)) throw error;
    send({ kind: 'unsound', message: error.message });
  }
  send({ kind: 'done' });
});
