/**
 * What a live view keeps of a run, as the text that is sent: bounded, whatever the run does.
 *
 * Pages take from here at their own pace. Each has a *cursor*, which says what it has got; nothing
 * is queued for a page, so one that stops reading costs a cursor, and misses what is thinned out
 * meanwhile.
 */
import type { LiveCall, LiveMessage } from '../live/live.js';

/** Kept samples; beyond these every second one goes, as often as it must. */
const SAMPLES_MOST = 1024;
const CALLS_MOST = 20_000;
const CALLS_PER_MESSAGE = 500;

/** What a page has got. */
export interface Cursor {
  started: boolean;
  /** Number of the last sample. */
  sample: number;
  /** Calls that were added before the next. */
  calls: number;
  /** Total of the last message of calls. */
  total: number;
  progress: string | null;
  report: string | null;
  ended: boolean;
}

export class History {
  private start: string | null = null;
  private samples: { readonly number: number; readonly text: string }[] = [];
  private stride = 1;
  private sampleCount = 0;
  private newestSample = '';
  private readonly calls: string[] = [];
  private callsAdded = 0;
  private callsTotal = 0;
  private progress: string | null = null;
  private report: string | null = null;
  private end: string | null = null;

  add(message: LiveMessage): void {
    switch (message.kind) {
      case 'start':
        this.start = event(message.kind, JSON.stringify(message));
        break;
      case 'sample':
        this.addSample(event(message.kind, JSON.stringify(message)));
        break;
      case 'calls':
        this.addCalls(message.calls);
        this.callsTotal = message.total;
        break;
      case 'progress':
      case 'report':
      case 'end':
        this[message.kind] = event(message.kind, JSON.stringify(message));
        break;
    }
  }

  cursor(): Cursor {
    return {
      started: false,
      sample: 0,
      calls: 0,
      total: 0,
      progress: null,
      report: null,
      ended: false,
    };
  }

  /**
   * The next that the page has not got, as server-sent events, and moves its cursor; null: it has
   * all.
   */
  next(cursor: Cursor): string | null {
    if (this.start !== null && !cursor.started) {
      cursor.started = true;
      return this.start;
    }
    if (cursor.sample < this.sampleCount) return this.nextSample(cursor);
    if (cursor.calls < this.callsAdded || cursor.total < this.callsTotal)
      return this.nextCalls(cursor);
    for (const kind of ['progress', 'report'] as const) {
      const text = this[kind];
      if (text === null || text === cursor[kind]) continue;
      cursor[kind] = text;
      return text;
    }
    if (this.end === null || cursor.ended) return null;
    cursor.ended = true;
    return this.end;
  }

  private addSample(text: string): void {
    const number = ++this.sampleCount;
    this.newestSample = text;
    if (number % this.stride !== 0) return;
    this.samples.push({ number, text });
    if (this.samples.length <= SAMPLES_MOST) return;
    this.stride *= 2;
    this.samples = this.samples.filter((sample) => sample.number % this.stride === 0);
  }

  private nextSample(cursor: Cursor): string {
    const { samples } = this;
    let low = 0;
    for (let high = samples.length; low < high; ) {
      const middle = (low + high) >>> 1;
      if (samples[middle]!.number > cursor.sample) high = middle;
      else low = middle + 1;
    }
    const found = samples[low];
    cursor.sample = found?.number ?? this.sampleCount;
    return found?.text ?? this.newestSample;
  }

  private addCalls(calls: readonly LiveCall[]): void {
    for (const call of calls) this.calls[this.callsAdded++ % CALLS_MOST] = JSON.stringify(call);
  }

  private nextCalls(cursor: Cursor): string {
    const from = Math.max(cursor.calls, this.callsAdded - CALLS_MOST);
    const to = Math.min(from + CALLS_PER_MESSAGE, this.callsAdded);
    const texts: string[] = [];
    for (let at = from; at < to; at++) texts.push(this.calls[at % CALLS_MOST]!);
    cursor.calls = to;
    cursor.total = this.callsTotal;
    return event(
      'calls',
      `{"kind":"calls","calls":[${texts.join(',')}],"total":${this.callsTotal}}`,
    );
  }
}

/** JSON has no line ends of its own. */
function event(kind: string, json: string): string {
  return `event: ${kind}\ndata: ${json}\n\n`;
}
