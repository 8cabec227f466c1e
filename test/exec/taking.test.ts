/**
 * Memory that a program takes away under a live mapping is told before it goes (R3.1). A page that
 * a device finds lost later would count as invalidated, too, and its bytes be right: so what counts
 * here is when the taking was recorded, and that nothing was found lost.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventsOf, parseRecording, type RecordedEvent } from '../../src/trace/recording.js';
import { have, skip } from '../skip.js';
import { edu, type RunResult, runIopf } from './run-iopf.js';

const FIRST_PAGE = 0x100;
const STEP_PAGES = 16;

/** Advice that takes pages away (madvise(2)), by number. */
const takingAdvice = [4, 8, 9, 21, 24, 25, 100, 101, 102];
const taking = [
  'munmap',
  'mmap fixed',
  'mprotect',
  'pkey_mprotect',
  'brk',
  'shmdt',
  'shmat',
  'fork',
  'clone',
  'clone3',
  'vfork',
  'mremap shrinks',
  'mremap moves',
  'mremap leaves',
  'mremap grows',
  'mremap over',
  'ftruncate',
  'fallocate',
  'process_madvise',
  'UFFDIO_MOVE',
  'UFFDIO_WRITEPROTECT',
  ...takingAdvice.map((advice) => `madvise ${advice}`),
];
/** NORMAL, WILLNEED, COLD. */
const leaving = ['none', 'brk grows', 'madvise 0', 'madvise 3', 'madvise 20'];
const tried = [...taking, ...leaving];

describe.skipIf(!have('cc', 'calls that take memory away'))('memory under a mapping', () => {
  const folder = mkdtempSync(join(tmpdir(), 'test-taking-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  let run: RunResult;
  let events: RecordedEvent[] = [];

  beforeAll(async () => {
    const binary = join(folder, 'taking');
    const recording = join(folder, 'taking.rec');
    const source = join(import.meta.dirname, 'programs/taking.c');
    execFileSync('cc', ['-O1', '-Wall', '-Wextra', '-o', binary, source]);
    run = await runIopf(['--device', `edu@${edu}`, '--record', recording], [binary, edu, ...tried]);
    events = [...eventsOf(parseRecording(readFileSync(recording), recording))];
  });

  /** How many invalidations of the mapping of an event lie between the device's accesses to it. */
  function takings(event: string): number {
    const iovaPage = FIRST_PAGE + tried.indexOf(event) * STEP_PAGES;
    const isMapped = (page: number): boolean => page >= iovaPage && page < iovaPage + STEP_PAGES;
    let mapping: Extract<RecordedEvent, { kind: 'map' }> | null = null;
    let accesses = 0;
    let since = 0;
    let between = 0;
    for (const one of events) {
      if (one.kind === 'map' && one.iovaPage === iovaPage) mapping = one;
      if (mapping === null) continue;
      const { vaddrPage, pages } = mapping;
      if (one.kind === 'invalidate' && one.first < vaddrPage + pages) {
        if (one.first + one.count > vaddrPage) since++;
      } else if ((one.kind === 'access' || one.kind === 'refused') && isMapped(one.iovaPage)) {
        if (accesses++ > 0) between += since;
        since = 0;
      }
    }
    expect(accesses).toBeGreaterThan(0);
    return between;
  }

  test('ends with every event tried, and no page was found lost', () => {
    expect(run.code, `${run.stdout}${run.stderr}`).toBe(0);
    expect(run.stdout.endsWith('ok\n')).toBe(true);
    expect(events.filter(({ kind }) => kind === 'page-lost')).toEqual([]);
  });

  test.for(taking)(
    'R3.1: %s is told before the device touches the memory again',
    (event, context) => {
      const line = run.stdout.split('\n').find((text) => text.startsWith(`skip ${event}:`));
      if (line !== undefined) skip(context, line);
      expect(takings(event)).toBe(1);
    },
  );

  test.each(leaving)('%s takes nothing away', (event) => {
    expect(takings(event)).toBe(0);
  });
});
