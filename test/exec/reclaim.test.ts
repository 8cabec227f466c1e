/**
 * Memory that the host takes away while devices use it: `--reclaim` and `--reclaim-scan`, with real
 * reclaim.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { Report } from '../../src/report/html.js';
import { compare } from '../../src/sim/compare.js';
import { exportRecording } from '../../src/sim/export.js';
import { eventsOf, parseRecording } from '../../src/trace/recording.js';
import { available, hasSwap, moreIsAsked, skip } from '../skip.js';
import { until } from '../until.js';
import { edu, program, runIopf } from './run-iopf.js';

const MIB = 2 ** 20;
/** What a program of Node has beside the memory that it uses: it cannot get below. */
const SIZE = 96 * MIB;
const AREA_MIB = 128;
const folder = mkdtempSync(join(tmpdir(), 'test-reclaim-'));

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The right to page memory of another process out. */
function mayReclaim(): boolean {
  const capabilities = /^CapEff:\s+([0-9a-f]+)/m.exec(
    readFileSync('/proc/self/status', 'latin1'),
  )![1]!;
  const may = ((Number.parseInt(capabilities.slice(-8), 16) >>> 23) & 1) === 1;
  return available(may, 'reclaim', 'no CAP_SYS_NICE');
}

interface Load {
  readonly copies: number;
  readonly wrong: number;
  readonly residentBytes: number;
}

async function load(options: readonly string[], kind: string, seconds = 3, ...more: string[]) {
  const words = [
    program('reclaim-load'),
    kind,
    `${AREA_MIB}`,
    `${seconds}`,
    join(folder, 'memory'),
    ...more,
  ];
  const result = await runIopf(
    ['--device', `edu@${edu}`, ...options],
    [process.execPath, ...words],
  );
  expect(result.code, result.stderr).toBe(0);
  return { ...result, summary: result.summary!, load: JSON.parse(result.stdout) as Load };
}

/** `load` on a file, while another process takes its pages away. */
async function loadWhileTaken(options: readonly string[]) {
  const where = join(folder, 'where');
  rmSync(where, { force: true });
  const loaded = load(options, 'file', 2, where);
  await until(() => existsSync(where) && readFileSync(where, 'latin1') !== '', 'the area');
  const area = readFileSync(where, 'latin1').split(' ');
  const taker = spawn(process.execPath, [program('page-out'), ...area], {
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  const ended = once(taker, 'close');
  const result = await loaded;
  taker.stdin.end();
  await ended;
  return result;
}

/** Pages of the `reclaim` events of a trace in Chrome's form. */
function pagesReclaimedIn(chrome: string): number {
  const events = JSON.parse(chrome) as { name: string; args: { removed: number } }[];
  const reclaims = events.filter(({ name }) => name === 'reclaim');
  return reclaims.reduce((sum, { args }) => sum + args.removed / 4096, 0);
}

const reclaim = ['--reclaim', `${SIZE}`, '--reclaim-scan', '10'];

const isMore = moreIsAsked('--reclaim of memory in a memfd');

describe.skipIf(!mayReclaim())('under --reclaim', () => {
  test.for(isMore ? ['anon', 'memfd', 'file'] : ['anon', 'file'])(
    'a program keeps to the size, and DMA to memory that left is right: %s memory',
    { timeout: 60_000 },
    async (kind, context) => {
      if (kind !== 'file' && !hasSwap()) skip(context, 'this host has no swap');
      const { load: done, summary, stderr } = await load(reclaim, kind);
      expect(done.wrong).toBe(0);
      expect(done.copies).toBeGreaterThan(100);
      expect(summary.rssBytesBefore).toBeGreaterThan(AREA_MIB * MIB);
      expect(summary.rssBytesPeak).toBeGreaterThanOrEqual(summary.rssBytesBefore!);
      // Near the size: well below what it has when nobody takes any of it away.
      expect(done.residentBytes).toBeLessThan(SIZE + 40 * MIB);
      expect(summary.pagesReclaimed).toBeGreaterThan(100);
      expect(summary.pagesReclaimed).toBeLessThanOrEqual(summary.pagesInvalidated);
      // Each page came in by a fault before it left, each time. In the end, when
      // the program looks at all its memory, the last of them may have left.
      expect(summary.pagesPremapped).toBe(0);
      expect(summary.pagesFaultedIn).toBeGreaterThanOrEqual(summary.pagesReclaimed);
      expect(summary.pinnedBytesPeak).toBe(0);
      expect(stderr).toMatch(/^ {2}reclaimed +\d+ of them by the host; \d+ scans in/m);
      if (kind === 'anon') expect(summary.swapBytesPeak).toBeGreaterThan(0);
    },
  );

  test('a recording tells reclaim from what the program does, and replays to the same faults and invalidations', async () => {
    const file = join(folder, 'run.rec');
    const { summary } = await load([...reclaim, '--record', file], 'file', 1);
    let reclaims = 0;
    for (const event of eventsOf(parseRecording(readFileSync(file), 'run.rec')))
      if (event.kind === 'invalidate' && event.reclaimed) reclaims++;
    expect(reclaims).toBeGreaterThan(0);
    expect(reclaims).toBeLessThanOrEqual(summary.invalidations);
    const order = { inputs: [file], policies: ['iopf'], model: null, seed: 1, jobs: 1 };
    const { faults, invalidations } = summary;
    expect((await compare(order)).comparison.runs[0]).toMatchObject({ faults, invalidations });
    let chrome = '';
    exportRecording(parseRecording(readFileSync(file), 'run.rec'), 'chrome', (text) => {
      chrome += text;
    });
    expect(pagesReclaimedIn(chrome)).toBe(summary.pagesReclaimed);
  }, 60_000);

  test('the trace and the report show as many reclaimed pages as there were', async () => {
    const [trace, html] = [join(folder, 'trace.json'), join(folder, 'run.html')];
    const { summary } = await load([...reclaim, '--trace', trace, '--html', html], 'file', 1);
    expect(summary.pagesReclaimed).toBeGreaterThan(0);
    expect(pagesReclaimedIn(readFileSync(trace, 'utf8'))).toBe(summary.pagesReclaimed);
    const data = /id="data">(.*?)<\/script>/s.exec(readFileSync(html, 'utf8'))![1]!;
    const { timeline } = (JSON.parse(data) as Report).groups[0]!.runs[0]!;
    expect(timeline.reduce((sum, step) => sum + step.reclaimed, 0)).toBe(summary.pagesReclaimed);
  }, 60_000);

  test('pages of a pinned mapping stay: --iopf ask, and the program never asks', async () => {
    const { load: done, summary } = await load(['--iopf', 'ask', ...reclaim], 'memfd', 1);
    expect(done.wrong).toBe(0);
    expect(summary.pinnedBytesPeak).toBe(AREA_MIB * MIB);
    expect(done.residentBytes).toBeGreaterThan(AREA_MIB * MIB);
    expect(summary.pagesReclaimed).toBe(0);
  }, 60_000);

  test('a size that cannot be is told once, with the reason', async () => {
    const { stderr } = await load(['--reclaim', `${SIZE / 2}`], 'locked');
    const told = stderr.match(/^iopf: --reclaim: memory stays at .*$/gm);
    expect(told).toHaveLength(1);
    expect(told![0]).toMatch(
      hasSwap()
        ? /not 48 MiB: the rest is program text, or locked/
        : /not 48 MiB: this host has no swap/,
    );
  }, 60_000);

  test.skipIf(!available(!hasSwap(), 'reclaim without swap', 'this host has some'))(
    'without swap, memory on no file is told to stay at once, however short the run',
    async () => {
      const { stderr } = await load(['--reclaim', `${SIZE}`], 'anon', 0);
      const told = stderr.match(/^iopf: --reclaim: memory stays at .*$/gm);
      expect(told).toHaveLength(1);
      expect(told![0]).toMatch(
        /not 96 MiB: this host has no swap, so that only memory on files can leave/,
      );
    },
  );

  test('--reclaim-scan finds what left without us, and without it nobody does; the bytes are right all the same', async () => {
    const seen = await loadWhileTaken(['--reclaim-scan', '5']);
    expect(seen.load.wrong).toBe(0);
    expect(seen.summary.pagesReclaimed).toBeGreaterThan(10);
    expect(seen.summary.reclaimScans).toBeGreaterThan(10);
    const unseen = await loadWhileTaken([]);
    expect(unseen.load.wrong).toBe(0);
    expect(unseen.load.copies).toBeGreaterThan(64);
    expect(unseen.summary.pagesReclaimed).toBe(0);
  }, 60_000);
});

test('--reclaim-scan takes nothing away where nothing leaves, and needs no privilege', async () => {
  const { load: done, summary } = await load(['--reclaim-scan', '5'], 'anon', 1);
  expect(done.wrong).toBe(0);
  expect(summary.pagesReclaimed).toBe(0);
  expect(summary.reclaimScans).toBeGreaterThan(10);
}, 60_000);

test('the program’s memory is in the summary, whoever looks', async () => {
  const { summary, stderr } = await load([], 'anon', 1);
  expect(summary.rssBytesBefore).toBeGreaterThan(AREA_MIB * MIB);
  expect(summary.rssBytesEnd).toBeGreaterThan(AREA_MIB * MIB);
  expect(summary.pagesReclaimed).toBe(0);
  expect(summary.reclaimScans).toBe(0);
  expect(stderr).toMatch(/^ {2}resident memory +[\d.]+ MiB before VFIO, [\d.]+ MiB at the peak/m);
  expect(stderr).not.toMatch(/^ {2}reclaimed/m);
}, 60_000);
