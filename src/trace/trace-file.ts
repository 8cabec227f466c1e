/**
 * A run's trace as a file: the kernel's text lines, or Chrome/Perfetto JSON where the name ends in
 * `.json`.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import type { Observer } from '../iommu/observer.js';
import { chromeTrace } from './chrome.js';
import { kernelTrace } from './kernel-text.js';

/** Turns events into text, a piece at a time. */
export interface TraceFormat {
  readonly begin: string;
  readonly end: string;
  /** An observer that hands each event's text to `put`. */
  observer(put: (text: string) => void): Observer;
}

const FLUSH_BYTES = 1 << 16;

/** A trace that is being written. */
export interface Trace {
  readonly observer: Observer;
  /** Writes what is left. Returns why the file is incomplete, or null. */
  close(): string | null;
}

/** Opens a trace; `now` is the clock in microseconds. Throws where the file cannot be created. */
export function openTrace(path: string, now: () => number): Trace {
  const format = path.endsWith('.json') ? chromeTrace(now) : kernelTrace();
  const fd = openSync(path, 'w');
  let pending = format.begin;
  let failure: string | null = null;
  const flush = (): void => {
    try {
      // A trace that cannot be written must not stop the run.
      if (failure === null) writeSync(fd, pending);
    } catch (error) {
      failure = (error as NodeJS.ErrnoException).code ?? String(error);
    }
    pending = '';
  };
  const observer = format.observer((text) => {
    pending += text;
    if (pending.length >= FLUSH_BYTES) flush();
  });
  return {
    observer,
    close() {
      pending += format.end;
      flush();
      closeSync(fd);
      return failure;
    },
  };
}
