/** Keeps what a run tells while it goes, for the page that is written at its end. */
import { KeptSamples } from '../../live/kept-samples.js';
import type { LiveCall, LiveEnd, LiveMessage, LiveStart, SavedRun } from '../../live/live.js';

/** Of more calls the newest are kept, and of the oldest so many: how a driver begins says most. */
const CALLS_MOST = 4000;
const FIRST_CALLS = 1000;

export class RunKeeper {
  private readonly samples = new KeptSamples();
  private readonly first: LiveCall[] = [];
  private newest: LiveCall[] = [];
  private total = 0;

  constructor(private readonly start: LiveStart) {}

  tell(message: LiveMessage): void {
    if (message.kind === 'sample') this.samples.add(message);
    if (message.kind !== 'calls') return;
    this.total = message.total;
    for (const call of message.calls)
      if (this.first.length < FIRST_CALLS) this.first.push(call);
      else this.newest.push(call);
    // Not at every call: moving the rest costs.
    if (this.newest.length > 2 * CALLS_MOST) this.newest = this.newest.slice(-CALLS_MOST);
  }

  saved(end: LiveEnd): SavedRun {
    const { first, newest, samples, start, total } = this;
    return {
      start,
      samples: samples.samples,
      last: samples.last,
      calls: [...first, ...newest.slice(-CALLS_MOST)],
      total,
      end,
    };
  }
}
