import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, test } from 'vitest';
import type { SweepRequest } from '../../src/cli/sweep.js';
import { SweepFile } from '../../src/cli/sweep-file.js';
import { type Ended, formatSweep, outcomeOf, type SweepRun } from '../../src/cli/sweep-outcome.js';
import type { RunSummary } from '../../src/exec/run/summary.js';

const MiB = 2 ** 20;
const summary = (more: Partial<RunSummary>): RunSummary =>
  ({
    exitCode: 0,
    signal: null,
    mappedBytesEnd: 0,
    injected: [{ count: 1 }],
    ...more,
  }) as RunSummary;
const plain: Ended = {
  summary: summary({}),
  exitCode: 0,
  timedOut: false,
  check: null,
  limitSeconds: 10,
  mappedBytesEnd: MiB,
};

describe('a run with a fault', () => {
  const missed = summary({ injected: [{ count: 0 }] as unknown as RunSummary['injected'] });
  const crashed = summary({ exitCode: null, signal: 'SIGSEGV' });
  it.each<[string, Partial<Ended>, string]>([
    ['well', {}, 'exit code 0'],
    ['well', { summary: summary({ mappedBytesEnd: MiB }) }, 'exit code 0'],
    ['missed', { summary: missed }, 'exit code 0'],
    ['error', { summary: summary({ exitCode: 3 }), exitCode: 3 }, 'exit code 3'],
    ['crash', { summary: crashed, exitCode: 139 }, 'killed by SIGSEGV'],
    ['crash', { summary: summary({ exitCode: 134 }), exitCode: 134 }, 'exit code 134'],
    ['hang', { timedOut: true, summary: crashed }, 'no end in 10 s'],
    ['corrupt', { check: 'exit code 1' }, 'exit code 0; the check: exit code 1'],
    [
      'leak',
      { summary: summary({ mappedBytesEnd: 3 * MiB }) },
      'exit code 0; mapped at the end: 3 MiB, without the fault 1 MiB',
    ],
    ['defect', { summary: null, exitCode: 125 }, 'iopf: exit code 125'],
  ])('ends as %s: %j', (outcome, ended, how) => {
    expect(outcomeOf({ ...plain, ...ended })).toEqual({ outcome, how });
  });
});

const run = (rule: string, outcome: SweepRun['outcome']): SweepRun => ({
  rule,
  outcome,
  how: 'as it was',
  exitCode: 0,
  seconds: 1,
  said: '',
  again: `iopf exec --inject ${rule} -- p`,
});

test('the table counts by rule, and has the command line of what was found', () => {
  const points = [
    { rule: 'nvme:cmd=never', passed: 9 },
    { rule: 'dma:refuse', passed: 0 },
  ];
  const runs = [run('nvme:cmd:1=never', 'error'), run('nvme:cmd:9=never', 'hang')];
  expect(formatSweep({ program: 'p', limitSeconds: 10, points, runs }).split('\n')).toEqual([
    'iopf: p: 2 runs with a fault each: 1 found',
    '  point           passed  runs  well  error  hang',
    '  nvme:cmd=never       9     2     -      1     1',
    '  dma:refuse           0     0     -      -     -',
    '  hang: nvme:cmd:9=never: as it was',
    '    iopf exec --inject nvme:cmd:9=never -- p',
  ]);
});

test('a sweep goes on from its file, whose last line may have been cut, and from no other', () => {
  const folder = mkdtempSync(join(tmpdir(), 'test-sweep-'));
  try {
    const path = join(folder, 'results');
    const request = {
      check: null,
      limitSeconds: 3,
      rules: ['dma:refuse'],
    } as unknown as SweepRequest;
    const start = {
      limitSeconds: 3,
      mappedBytesEnd: 0,
      points: [{ rule: 'dma:refuse', passed: 2 }],
    };
    const first = new SweepFile(path, ['p'], request);
    expect(first.start).toBeNull();
    first.begin(start);
    first.add(run('dma:refuse:1', 'well'));
    writeFileSync(path, `${readFileSync(path, 'utf8')}{"rule":"dma:ref`);
    const second = new SweepFile(path, ['p'], request);
    expect([second.start, second.runs]).toEqual([start, [run('dma:refuse:1', 'well')]]);
    second.begin(start);
    second.add(run('dma:refuse:2', 'error'));
    expect(new SweepFile(path, ['p'], request).runs).toHaveLength(2);
    const before = readFileSync(path, 'utf8');
    expect(() => new SweepFile(path, ['q'], request)).toThrow('the results of another sweep');
    expect(readFileSync(path, 'utf8')).toBe(before);
    writeFileSync(path, 'a letter\n');
    expect(() => new SweepFile(path, ['p'], request)).toThrow('no file of results');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
