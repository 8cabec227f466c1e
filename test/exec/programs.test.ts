/**
 * What programs do to their descriptors, threads and processes: each mode of torture.c is a
 * sentence below.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canDropPrivilege, have, skip } from '../skip.js';
import { edu, runIopf } from './run-iopf.js';

const folder = mkdtempSync(join(tmpdir(), 'test-torture-'));
const torture = join(folder, 'torture');
chmodSync(folder, 0o755);
const device = ['--device', `edu@${edu}`];
/** STRESS_SECONDS: how long `stress` goes on; at least 2,000 rounds. */
const TIMEOUT = 120_000 + 1000 * Number(process.env['STRESS_SECONDS'] ?? 0);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function compile(output: string, ...flags: string[]): void {
  const source = join(import.meta.dirname, 'programs/torture.c');
  const { status, stderr } = spawnSync('cc', [
    '-O1',
    '-Wall',
    '-pthread',
    ...flags,
    '-o',
    output,
    source,
  ]);
  expect(`${stderr}`).toBe('');
  expect(status).toBe(0);
}

describe.skipIf(!have('cc', 'the programs of torture.c'))('a program that', () => {
  beforeAll(() => compile(torture));

  test.each([
    ['ends with a code of its own passes it on', 'basic'],
    ['is interrupted 1,000 times a second has each call done exactly once', 'signals'],
    ['maps, unmaps and opens in four threads at once', 'threads'],
    ['forks shares its files with the child until both have closed them', 'forks'],
    ['execs keeps its mappings if that fails, and loses its files if not', 'execs'],
    ['closes every descriptor, ours included, can begin again', 'close-all'],
    ['duplicates descriptors, also to low numbers', 'duplicates'],
    ['maps a BAR keeps the device open by it; config space cannot be mapped', 'mapped-bar'],
    ['passes bad pointers gets EFAULT', 'bad-pointers'],
    ['allows itself few descriptors gets EMFILE', 'low-limit'],
    ['waits for an MSI at an eventfd', 'interrupt'],
    [
      'waits for an MSI at an old eventfd, in a child, with a thousand others made since',
      'old-eventfds',
    ],
    ['unmasks INTx by its resample eventfd', 'resample'],
    ['takes memory away and forks while the device copies has every byte right', 'stress'],
    ['names files of the host by way of ours, or has names that are too long', 'paths'],
    ['asks for the status of a child that is gone', 'child-status'],
    ['reads with vectors and without an offset', 'vectors'],
    ['uses numbers again for other files, and its own', 'numbers'],
    ['starts and ends threads', 'idle-threads'],
    ['leaves a child behind is served to the end', 'orphan'],
  ])(
    '%s',
    async (_, mode) => {
      const run = await runIopf(device, [torture, mode, edu]);
      expect(run.stdout).toBe(mode === 'orphan' ? 'ok\norphan ok\n' : 'ok\n');
      expect(run.code).toBe(7);
      expect(run.summary!.exitCode).toBe(7);
      // What ends with the program was not taken away from it.
      if (mode !== 'stress') expect(run.summary!.invalidations).toBe(0);
      else
        expect([run.summary!.pinnedBytesPeak, run.summary!.invalidations > 100]).toEqual([0, true]);
    },
    TIMEOUT,
  );

  test('is linked statically is served like any other', async () => {
    const fixed = join(folder, 'torture-static');
    compile(fixed, '-static');
    const run = await runIopf(device, [fixed, 'threads', edu]);
    expect(run.stdout).toBe('ok\n');
    expect(run.code).toBe(7);
  });

  test.skipIf(!canDropPrivilege('a program without privilege'))(
    'is run by a user without privilege is served like any other',
    async (context) => {
      const { iopf } = await import('./run-iopf.js');
      const run = spawnSync(
        'setpriv',
        [
          '--reuid',
          '65534',
          '--regid',
          '65534',
          '--clear-groups',
          process.execPath,
          iopf,
          'exec',
          ...device,
          '--',
          torture,
          'threads',
          edu,
        ],
        { encoding: 'utf8' },
      );
      if (/EACCES|permission denied/i.test(run.stderr))
        skip(context, `this checkout cannot be read without privilege: ${run.stderr}`);
      expect(run.stdout).toBe('ok\n');
      expect(run.status).toBe(7);
    },
  );
});
