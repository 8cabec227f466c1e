import { expect, test } from 'vitest';
import { edu, program, runIopf } from './run-iopf.js';

const OLD = 0xaa;
const NEW = 0x55;
const ZERO = 0;
const WRITTEN = 0x33;

/** What a device may read of the page afterwards, and what the program finds there once the device has written. */
const expectations: [event: string, read: number, written: number | null, refused: boolean][] = [
  ['none', OLD, WRITTEN, false],
  ['munmap', ZERO, null, true],
  ['munmap and mmap again', NEW, WRITTEN, false],
  ['mmap fixed', NEW, WRITTEN, false],
  ['dontneed', ZERO, WRITTEN, false],
  ['mremap away', ZERO, null, true],
  ['mremap over', NEW, WRITTEN, false],
  ['mprotect none', ZERO, null, true],
  ['mprotect read', OLD, OLD, false],
  ['fork', NEW, WRITTEN, false],
];

test.each(expectations)(
  'R3.1: after %s the device gets the new page or is refused, never the old page',
  async (event, read, written) => {
    const run = await runIopf(['--device', `edu@${edu}`], [process.execPath, program('memory-event'), event]);
    expect(run.stderr).not.toContain('defect');
    expect(JSON.parse(run.stdout)).toEqual({ before: OLD, read, written });
    expect(run.code).toBe(0);
    expect(run.summary!.pinnedBytesPeak).toBe(0);
    if (event !== 'none') expect(run.summary!.pagesInvalidated).toBeGreaterThan(0);
  },
);
