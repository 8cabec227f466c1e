/** Which calls of the log are shown. */
import type { LiveCall } from '../live/live.js';
import type { Mark } from './marks.js';

/** A line of the log: a call, or something that happened between calls. */
export type Entry = LiveCall | Mark;

export interface CallFilter {
  /** '' shows all of each. */
  readonly call: string;
  /** `ok`, `failed`, or the name of an errno. */
  readonly result: string;
  readonly descriptor: string;
  /** In any case, anywhere in the line. */
  readonly text: string;
}

export const everything: CallFilter = { call: '', result: '', descriptor: '', text: '' };

export function passes(filter: CallFilter, call: LiveCall): boolean {
  if (filter.call !== '' && call.call !== filter.call) return false;
  if (filter.descriptor !== '' && `${call.descriptor}` !== filter.descriptor) return false;
  if (filter.result === 'ok' && call.error !== null) return false;
  if (filter.result === 'failed' && call.error === null) return false;
  if (!['', 'ok', 'failed'].includes(filter.result) && call.error !== filter.result) return false;
  return filter.text === '' || line(call).toLowerCase().includes(filter.text.toLowerCase());
}

/** Marks are no calls: they are shown beside all of them, and by their kind. */
function passesMark(filter: CallFilter, mark: Mark): boolean {
  if (filter.call !== '' && filter.call !== mark.kind) return false;
  if (filter.descriptor !== '' || filter.result === 'ok') return false;
  if (filter.result !== '' && !(filter.result === 'failed' && mark.kind === 'refused'))
    return false;
  return mark.text.toLowerCase().includes(filter.text.toLowerCase());
}

/** What passes, by time; a mark is between the calls before and after it. */
export function entriesOf(
  calls: readonly LiveCall[],
  marks: readonly Mark[],
  filter: CallFilter,
): Entry[] {
  const passing = marks.filter((mark) => passesMark(filter, mark));
  const entries: Entry[] = [];
  let next = 0;
  for (const call of calls) {
    while (next < passing.length && passing[next]!.seconds < call.seconds)
      entries.push(passing[next++]!);
    if (passes(filter, call)) entries.push(call);
  }
  return [...entries, ...passing.slice(next)];
}

export function isMark(entry: Entry): entry is Mark {
  return 'kind' in entry;
}

/** A call as strace writes it, or a mark. */
export function line(entry: Entry): string {
  if (isMark(entry)) return `${head(entry)}${entry.text}`;
  return `${head(entry)}${entry.text} = ${outcome(entry)} ${took(entry)}`;
}

export function head(entry: Entry): string {
  const who = isMark(entry) ? '--' : `[${entry.pid}]`;
  return `${entry.seconds.toFixed(6).padStart(10)} ${who} `;
}

/** Numbers beyond this are addresses. */
const ADDRESS = 2 ** 32;

export function outcome({ error, result }: LiveCall): string {
  if (error !== null) return `-1 ${error}`;
  if (result === null) return '?';
  return result >= ADDRESS ? `0x${result.toString(16)}` : `${result}`;
}

export function took({ microseconds }: LiveCall): string {
  return `<${(microseconds / 1e6).toFixed(6)}>`;
}

/** The newest calls, at most so many; what was dropped before them is counted. */
export class CallStore {
  calls: LiveCall[] = [];
  total = 0;

  constructor(private readonly most: number) {}

  /** Returns what was new, and how many went at the front. */
  add(calls: readonly LiveCall[], total: number): { added: readonly LiveCall[]; gone: number } {
    const last = this.calls.at(-1)?.number ?? -1;
    const added = calls.filter((call) => call.number > last);
    this.calls.push(...added);
    this.total = Math.max(this.total, total, (added.at(-1)?.number ?? -1) + 1);
    // Not at every call: moving the rest costs.
    const slack = this.most / 5;
    const gone = this.calls.length > this.most + slack ? this.calls.length - this.most : 0;
    if (gone > 0) this.calls.splice(0, gone);
    return { added, gone };
  }
}
