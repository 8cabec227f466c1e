/**
 * A polling NVMe driver in user space that takes queues and the controller away while they work.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { have } from '../skip.js';
import { nvme, program, type RunResult, repository, runIopf } from './run-iopf.js';

const other = '0000:03:00.0';

interface Counts {
  readonly finished: number;
  readonly aborted: number;
  readonly unheard: number;
  readonly wrong: number;
  readonly late: number;
  readonly shares?: number[];
}

async function life(mode: string, iopf = 'auto'): Promise<{ counts: Counts; run: RunResult }> {
  const devices = [nvme, other].flatMap((address) => ['--device', `nvme@${address},size=4M`]);
  const run = await runIopf(
    ['--iopf', iopf, ...devices],
    ['node', program('nvme-life'), mode, nvme, ...(mode === 'pair' ? [other] : [])],
  );
  expect(run.code, run.stderr).toBe(0);
  return { counts: JSON.parse(run.stdout) as Counts, run };
}

describe('three queues of a thousand commands', () => {
  test.each(['auto', 'off'])(
    'are deleted while they work: each command is done, told that it was aborted, or never heard of again, --iopf %s',
    async (mode) => {
      const { counts, run } = await life('delete', mode);
      expect(counts).toMatchObject({ wrong: 0, late: 0 });
      expect(counts.finished).toBeGreaterThan(10_000);
      expect(counts.aborted).toBeGreaterThan(0);
      expect(counts.finished + counts.aborted + counts.unheard).toBe((6 + 1) * 3 * 1000);
      expect(run.summary!.pinnedBytesPeak === 0).toBe(mode === 'auto');
    },
  );

  test.each(['controller', 'function'])(
    'are at work when a %s reset comes: nothing is written after it, and the disk holds what it should',
    async (mode) => {
      const { counts } = await life(mode);
      expect(counts).toMatchObject({ wrong: 0, late: 0, aborted: 0 });
      expect(counts.finished).toBeGreaterThanOrEqual(3000);
      expect(counts.finished + counts.unheard).toBe((6 + 1) * 3 * 1000);
    },
  );

  test('the program notices memory that is written after a reset', async () => {
    expect((await life('canary')).counts.late).toBe(1);
  });
});

test('memory that the program gives up fails the commands in it; a queue in it is a fatal status until the reset', async () => {
  const run = await runIopf(
    ['--device', `nvme@${nvme},size=4M`],
    ['node', program('nvme-gone'), nvme],
  );
  expect(run.code, run.stderr).toBe(0);
  expect(JSON.parse(run.stdout)).toEqual({
    statuses: ['0', '4', '4', '0'],
    beside: 0x66,
    afterSubmission: '0',
    afterCompletion: '0',
  });
});

test('two controllers that are both busy get the same share', async () => {
  const { counts } = await life('pair');
  expect(counts.wrong).toBe(0);
  const [first, second] = counts.shares!;
  expect(Math.min(first!, second!) / Math.max(first!, second!)).toBeGreaterThan(0.6);
});

describe('the example', () => {
  test.each([
    ['on', []],
    ['on', ['--queues', '4', '--depth', '256', '--write']],
    ['off', []],
  ])('polls a disk and tells its figures, --traps %s, with %j', async (traps, options) => {
    const command = [
      'node',
      join(repository, 'dist/examples/nvme-poll/main.js'),
      nvme,
      '--seconds',
      '0.3',
    ];
    const device = ['--traps', traps, '--device', `nvme@${nvme}`];
    const run = await runIopf(device, [...command, ...options]);
    expect(run.code, run.stderr).toBe(0);
    const figures = JSON.parse(run.stdout) as Record<string, number>;
    expect(figures['perSecond']).toBeGreaterThan(0);
    expect(figures['p50']).toBeGreaterThan(0);
    expect(figures['max']).toBeGreaterThanOrEqual(figures['p99']!);
  });
});

test.skipIf(!have('cc', 'a controller memory buffer under a program')).each(['auto', 'off'])(
  'a controller memory buffer holds queues and data, and is memory for DMA of another controller, --iopf %s',
  async (mode) => {
    const folder = mkdtempSync(join(tmpdir(), 'test-buffer-'));
    try {
      const binary = join(folder, 'buffer');
      const source = join(import.meta.dirname, 'programs/buffer.c');
      execFileSync('cc', ['-O1', '-Wall', '-o', binary, source]);
      const devices = [`nvme@${nvme},size=4M`, `nvme@${other},size=4M,cmb=1M`];
      const run = await runIopf(
        ['--iopf', mode, ...devices.flatMap((one) => ['--device', one])],
        [binary, nvme, other],
      );
      expect(run.stdout, run.stderr).toBe('own peer unmapped reset\n');
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
