/** Runs jobs on as many threads as wanted; one thread means this one, unless it must stay free. */
import { Worker } from 'node:worker_threads';
import { Unsound } from '../verify/unsound.js';
import { type Job, runJob, type ScenarioReport } from './job.js';

/** From a worker. */
export type WorkerMessage =
  | { readonly kind: 'report'; readonly report: ScenarioReport }
  | { readonly kind: 'progress'; readonly scenario: string; readonly states: number }
  | { readonly kind: 'unsound'; readonly message: string }
  | { readonly kind: 'done' };

export interface PoolEvents {
  report(report: ScenarioReport): void;
  progress(scenario: string, states: number): void;
}

/** Throws `Unsound` where what was found out cannot be relied on. */
export async function runJobs(
  jobs: readonly Job[],
  threads: number,
  events: PoolEvents,
  stayFree = false,
): Promise<void> {
  const report = (each: ScenarioReport) => events.report(each);
  const progress = (scenario: string, states: number) => events.progress(scenario, states);
  if (threads <= 1 && !stayFree) {
    for (const job of jobs) await runJob(job, report, progress);
    return;
  }
  const left = [...jobs];
  const workers = Array.from({ length: Math.min(threads, jobs.length) }, () =>
    runWorker(left, events),
  );
  await Promise.all(workers);
}

function runWorker(left: Job[], events: PoolEvents): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./worker.js', import.meta.url));
    const next = () => {
      const job = left.shift();
      if (job !== undefined) worker.postMessage(job);
      else void worker.terminate().then(() => resolve());
    };
    worker.on('message', (message: WorkerMessage) => {
      if (message.kind === 'report') events.report(message.report);
      else if (message.kind === 'progress') events.progress(message.scenario, message.states);
      else if (message.kind === 'unsound') reject(new Unsound(message.message));
      else next();
    });
    worker.on('error', reject);
    next();
  });
}
