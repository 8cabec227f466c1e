/** Runs jobs on as many threads as wanted; one thread means this one, unless it must stay free. */
import { type Job, runJob } from './job.js';
import type { ScenarioReport } from './run-scenario.js';
import { CheckThread, moduleOf } from './thread.js';

export interface PoolEvents {
  report(report: ScenarioReport): void;
  progress(scenario: string, states: number): void;
}

/**
 * Throws `Unsound` where what was found out cannot be relied on, `ScenarioMistake` where a user's
 * file cannot be run. Such files never run in this thread.
 */
export async function runJobs(
  jobs: readonly Job[],
  threads: number,
  events: PoolEvents,
  stayFree = false,
): Promise<void> {
  const report = (each: ScenarioReport) => events.report(each);
  const progress = (scenario: string, states: number) => events.progress(scenario, states);
  if (threads <= 1 && !stayFree && jobs.every((job) => moduleOf({ kind: 'job', job }) === null)) {
    for (const job of jobs) await runJob(job, report, progress);
    return;
  }
  const left = [...jobs];
  const count = Math.min(Math.max(threads, 1), jobs.length);
  await Promise.all(Array.from({ length: count }, () => runThread(left, events)));
}

async function runThread(left: Job[], events: PoolEvents): Promise<void> {
  const thread = new CheckThread();
  try {
    for (let job = left.shift(); job !== undefined; job = left.shift())
      await thread.ask({ kind: 'job', job }, (message) => {
        if (message.kind === 'report') events.report(message.report);
        else if (message.kind === 'progress') events.progress(message.scenario, message.states);
      });
  } finally {
    left.length = 0; // Where one fails, the others end with what they have.
    await thread.end();
  }
}
