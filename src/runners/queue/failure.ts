/** How a job that came to no result says so through a queue, in one text. */
import type { JobKind } from '../../jobs/job.js';

const MARK = 'iopf-refused:';
const LINE_MOST = 2000;

export function refusalText(why: string, message: string): string {
  return `${MARK}${why}:${message}`;
}

/** The refusal that a text is, or null. */
export function refusalIn(
  text: string,
  { refusals }: Pick<JobKind<never, unknown, never>, 'refusals'>,
): Error | null {
  if (!text.startsWith(MARK)) return null;
  const [, why, message] = /^([a-z]+):(.*)$/s.exec(text.slice(MARK.length)) ?? [];
  if (why === undefined || !Object.hasOwn(refusals, why)) return null;
  return new refusals[why]!(message!);
}

/** What a failure is in a line. */
export function failureLine(text: string): string {
  // BullMQ's words for a job whose worker went away once more than is allowed.
  if (/stalled more than allowable limit/.test(text)) return 'its worker ended each time';
  return text.split('\n')[0]!.slice(0, LINE_MOST);
}
