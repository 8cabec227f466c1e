import { expect, test } from 'vitest';
import { memoryEvents, OLD } from './memory-events.js';
import { edu, program, runIopf } from './run-iopf.js';

test.each(memoryEvents)(
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
