/** Jobs in threads of this process. */
import {
  ATTEMPTS,
  type JobEvents,
  type JobKind,
  type JobOutcome,
  type JobRunner,
  lineOf,
} from './job.js';
import { JobThread, ThreadEnded } from './job-thread.js';

/** In at most so many threads at a time, and at least one. */
export function threadRunner(most: number): JobRunner {
  return {
    async run(kind, inputs, events = {}) {
      const count = Math.min(Math.max(most, 1), inputs.length);
      const seats = Array.from({ length: count }, () => new Seat());
      try {
        return await runOn(seats, kind, inputs, events);
      } finally {
        for (const seat of seats) await seat.end();
      }
    },
  };
}

async function runOn<Input, Result, Progress>(
  seats: readonly Seat[],
  kind: JobKind<Input, Result, Progress>,
  inputs: readonly Input[],
  events: JobEvents<Result, Progress>,
): Promise<JobOutcome<Result>[]> {
  const outcomes = new Array<JobOutcome<Result>>(inputs.length);
  let next = 0;
  const serve = async (seat: Seat): Promise<void> => {
    while (next < inputs.length) {
      const index = next++;
      const progress = (value: Progress): void => events.progress?.(index, value);
      const outcome = await attempt(seat, kind, inputs[index]!, progress);
      outcomes[index] = outcome;
      events.done?.(index, outcome);
    }
  };
  await Promise.all(seats.map(serve));
  return outcomes;
}

async function attempt<Input, Result, Progress>(
  seat: Seat,
  kind: JobKind<Input, Result, Progress>,
  input: Input,
  progress: (value: Progress) => void,
): Promise<JobOutcome<Result>> {
  for (let times = 1; ; times++) {
    try {
      const json = await seat.thread().ask(kind, input, progress);
      return { kind: 'done', result: JSON.parse(json) as Result };
    } catch (error) {
      if (!(error instanceof ThreadEnded)) throw error;
      await seat.end();
      if (times === ATTEMPTS) return { kind: 'failed', message: lineOf(error) };
    }
  }
}

/** Where a thread works; another takes its place when it has ended. */
export class Seat {
  private current: JobThread | null = null;

  thread(): JobThread {
    this.current ??= new JobThread();
    return this.current;
  }

  async end(): Promise<void> {
    const { current } = this;
    this.current = null;
    await current?.end();
  }
}
