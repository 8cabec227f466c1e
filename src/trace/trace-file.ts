/** A run's trace as a file: the kernel's text lines, or Chrome/Perfetto JSON where the name ends in `.json`. */
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

/** Opens a trace; `now` is the clock in microseconds. The caller closes it at the end of the run. */
export function openTrace(path: string, now: () => number): Observer & { close(): void } {
  const format = path.endsWith('.json') ? chromeTrace(now) : kernelTrace();
  const fd = openSync(path, 'w');
  let pending = format.begin;
  const flush = (): void => {
    writeSync(fd, pending);
    pending = '';
  };
  const observer = format.observer((text) => {
    pending += text;
    if (pending.length >= FLUSH_BYTES) flush();
  });
  return Object.assign(observer, {
    close(): void {
      pending += format.end;
      flush();
      closeSync(fd);
    },
  });
}
