/**
 * A run's trace as a file: the kernel's text lines, or Chrome/Perfetto JSON where the name ends in
 * `.json`.
 */
import type { Observer } from '../iommu/observer.js';
import { chromeTrace } from './chrome.js';
import { kernelTrace } from './kernel-text.js';
import { RunFile } from './run-file.js';

/** Whom a trace is about: a process and its name. */
export interface TracedTask {
  readonly name: string;
  readonly pid: number;
}

/** Turns events into text, a piece at a time. */
export interface TraceFormat {
  readonly begin: string;
  readonly end: string;
  /** An observer that hands each event's text to `put`. */
  observer(put: (text: string) => void): Observer;
}

const FLUSH_BYTES = 1 << 16;
/** What a run that is killed loses at most. */
const FLUSH_AGE_US = 500_000;

/** A trace that is being written. */
export interface Trace {
  readonly observer: Observer;
  /** Called now and then, so that what is traced gets to the file also when little happens. */
  tick(): void;
  /** Writes what is left. Returns what is missing, in a sentence, or null. */
  close(): string | null;
  /** Nothing ran: the file is as it was. */
  discard(): void;
}

/**
 * Opens a trace; `nowUs` is the clock; times in the file are CLOCK_MONOTONIC's.
 * `task` is asked with each event. Throws UserError where the file cannot be made.
 */
export function openTrace(path: string, nowUs: () => number, task: () => TracedTask): Trace {
  const monotonicUs = Number(process.hrtime.bigint() / 1000n) - nowUs();
  const clock = (): number => monotonicUs + nowUs();
  const format = path.endsWith('.json') ? chromeTrace(clock, task) : kernelTrace(clock, task);
  const file = new RunFile('trace', path);
  let pending = format.begin;
  let flushedUs = nowUs();
  const flush = (): void => {
    flushedUs = nowUs();
    if (pending !== '') file.write(Buffer.from(pending));
    pending = '';
  };
  const observer = format.observer((text) => {
    pending += text;
    if (pending.length >= FLUSH_BYTES) flush();
  });
  return {
    observer,
    tick() {
      if (nowUs() - flushedUs >= FLUSH_AGE_US) flush();
    },
    close() {
      pending += format.end;
      flush();
      file.close();
      return file.complaint;
    },
    discard: () => file.discard(),
  };
}
