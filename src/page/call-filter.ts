/** Which calls of the log are shown. */
import type { LiveCall } from '../live/live.js';

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

/** A call as strace writes it. */
export function line(call: LiveCall): string {
  return `${head(call)}${call.text} = ${outcome(call)} ${took(call)}`;
}

export function head({ pid, seconds }: LiveCall): string {
  return `${seconds.toFixed(6).padStart(10)} [${pid}] `;
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
