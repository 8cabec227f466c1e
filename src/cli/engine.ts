/** `--engine`: who carries out the jobs of a command. */
import { Option } from 'commander';
import { tell } from '../exec/run/tell.js';
import { printable } from '../input/printable.js';
import { ATTEMPTS, type JobRunner } from '../jobs/job.js';

export interface EngineOptions {
  readonly engine?: string;
  readonly jobs: number;
}

/** Of a job's input in a message. */
const INPUT_MOST = 400;

export function engineOption(): Option {
  return new Option(
    '--engine <url>',
    'have jobs done by iopf workers on a Redis (redis://HOST); --jobs is not used then',
  );
}

export async function runnerFor({ engine, jobs }: EngineOptions): Promise<JobRunner> {
  return telling(await chosen(engine, jobs));
}

async function chosen(engine: string | undefined, jobs: number): Promise<JobRunner> {
  if (engine === undefined) {
    const { threadRunner } = await import('../jobs/thread-runner.js');
    return threadRunner(jobs);
  }
  const { queueRunner } = await import('../runners/queue/queue-runner.js');
  return queueRunner(engine, { tell });
}

/** Of jobs that fail it tells the input; the rest goes on, and the command ends with 1. */
export function telling(runner: JobRunner): JobRunner {
  return {
    async run(kind, inputs, events) {
      const outcomes = await runner.run(kind, inputs, events);
      for (const [index, outcome] of outcomes.entries()) {
        if (outcome.kind === 'done') continue;
        process.exitCode = 1;
        const input = JSON.stringify(inputs[index]).slice(0, INPUT_MOST);
        tell(printable(`a job failed ${ATTEMPTS} times: ${outcome.message}; its input: ${input}`));
      }
      return outcomes;
    },
  };
}
