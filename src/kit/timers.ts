/** Timers of a device, over a clock that is handed in. They run when the device is polled. */
import type { DeviceClock } from './device.js';
import { noPromise } from './promise.js';

interface Timer {
  readonly dueUs: number;
  readonly callback: () => void;
}

export class Timers {
  private readonly waiting = new Set<Timer>();

  constructor(private readonly nowUs: () => number) {}

  /** What the author gets. */
  face(): DeviceClock {
    return Object.freeze({ now: this.nowUs, after: this.after.bind(this) });
  }

  private after(microseconds: number, callback: () => void): { cancel(): void } {
    if (!(microseconds >= 0)) throw new Error(`a timer after ${microseconds} µs: 0 at least`);
    if (typeof callback !== 'function') throw new Error('a timer needs a function to call back');
    const timer = { dueUs: this.nowUs() + microseconds, callback };
    this.waiting.add(timer);
    return { cancel: () => void this.waiting.delete(timer) };
  }

  clear(): void {
    this.waiting.clear();
  }

  /** Calls back what is due, the earliest first; true: there was something. */
  run(): boolean {
    if (this.waiting.size === 0) return false;
    const nowUs = this.nowUs();
    const due = [...this.waiting].filter(({ dueUs }) => dueUs <= nowUs);
    due.sort((one, other) => one.dueUs - other.dueUs);
    for (const timer of due) if (this.waiting.delete(timer)) noPromise(timer.callback(), 'a timer');
    return due.length > 0;
  }
}
