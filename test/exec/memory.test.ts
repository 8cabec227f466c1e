import { expect, test } from 'vitest';
import { edu, program, runIopf } from './run-iopf.js';

const OLD = 0xaa;
const NEW = 0x55;
const ZERO = 0;
const WRITTEN = 0x33;

/**
 * What the device reads of the page afterwards, what the program finds there once the device has
 * written, and how many pages were taken out of the I/O page tables before: without the notice the
 * device would still be right, because its accesses go through the process's page tables, but the
 * tables would not be.
 */
const expectations: [event: string, read: number, written: number | null, taken: number][] = [
  ['none', OLD, WRITTEN, 0],
  ['munmap', ZERO, null, 1],
  ['munmap and mmap again', NEW, WRITTEN, 1],
  ['mmap fixed', NEW, WRITTEN, 1],
  ['dontneed', ZERO, WRITTEN, 1],
  ['mremap away', ZERO, null, 1],
  ['mremap over', NEW, WRITTEN, 1],
  ['mprotect none', ZERO, null, 1],
  ['mprotect read', OLD, OLD, 1],
  // The page, and the two that carried bytes: all are private memory, which a fork write-protects.
  ['fork', NEW, WRITTEN, 3],
];

test.each(expectations)(
  'R3.1: after %s the device gets the new page or is refused, never the old page',
  async (event, read, written, taken) => {
    const run = await runIopf(
      ['--device', `edu@${edu}`],
      [process.execPath, program('memory-event'), event],
    );
    expect(run.stderr).not.toContain('defect');
    expect(JSON.parse(run.stdout)).toEqual({ before: OLD, read, written });
    expect(run.code).toBe(0);
    expect(run.summary!.pinnedBytesPeak).toBe(0);
    expect(run.summary!.pagesInvalidated).toBe(taken);
  },
);
