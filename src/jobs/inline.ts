/** Jobs in this thread, one after another. */
import { hostFiles } from '../input/file-source.js';
import {
  ATTEMPTS,
  type JobKind,
  type JobOutcome,
  type JobRunner,
  lineOf,
  refusalOf,
} from './job.js';

export const inlineRunner: JobRunner = {
  async run(kind, inputs, events = {}) {
    const outcomes = [];
    for (const [index, input] of inputs.entries()) {
      const progress = (value: never): void => events.progress?.(index, value);
      const outcome = await attempt(kind, input, progress as (value: unknown) => void);
      outcomes.push(outcome);
      events.done?.(index, outcome);
    }
    return outcomes;
  },
};

async function attempt<Input, Result, Progress>(
  kind: JobKind<Input, Result, Progress>,
  input: Input,
  progress: (value: Progress) => void,
): Promise<JobOutcome<Result>> {
  for (let times = 1; ; times++) {
    try {
      const result = await kind.run(input, { files: hostFiles, progress });
      // As it comes from any other runner.
      return { kind: 'done', result: JSON.parse(JSON.stringify(result)) as Result };
    } catch (error) {
      if (refusalOf(kind, error) !== null) throw error;
      if (times === ATTEMPTS) return { kind: 'failed', message: lineOf(error) };
    }
  }
}
