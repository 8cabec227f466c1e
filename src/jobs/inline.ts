/** Jobs in this thread, one after another. */
import { hostFiles } from '../input/file-source.js';
import { ATTEMPTS, type JobKind, type JobOutcome, type JobRunner, lineOf } from './job.js';

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
      if (isRefusal(kind, error)) throw error;
      if (times === ATTEMPTS) return { kind: 'failed', message: lineOf(error) };
    }
  }
}

/** The name of the refusal that an error is, or null. */
export function refusalOf(
  { refusals }: Pick<JobKind<never, unknown, never>, 'refusals'>,
  error: unknown,
): string | null {
  const found = Object.entries(refusals).find(([, of]) => error instanceof of);
  return found?.[0] ?? null;
}

function isRefusal(kind: Pick<JobKind<never, unknown, never>, 'refusals'>, error: unknown) {
  return refusalOf(kind, error) !== null;
}
