/** A short soak, and that it would find what it looks for. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { repository } from '../exec/run-iopf.js';
import { have, moreIsAsked } from '../skip.js';

const folder = mkdtempSync(join(tmpdir(), 'test-soak-'));
chmodSync(folder, 0o755); // another user runs what is in it
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A round may wait for a busy machine. */
const TIMEOUT_MS = 180_000;

function soak(...words: string[]): { status: number | null; stdout: string } {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(repository, 'dist/test/soak/main.js'), ...words],
    { encoding: 'utf8', env: { ...process.env, TMPDIR: folder } },
  );
  expect(stderr).toBe('');
  return { status, stdout };
}

const canaries: [name: string, canary: string, told: RegExp][] = [
  ['a wrong byte', 'byte', /exit code 1, not 7; wrong bytes$/m],
  ['a program that hangs', 'hang', /--round 0 hangs: \d+ \(/],
  ['a process that is left', 'process', /leaves processes: \d+ \(sleep 1000, .*\)$/m],
  ['a folder that is left', 'file', /leaves files: iopf-left$/m],
  ['descriptors that are left', 'descriptors', /iopf had \d+ descriptors and has \d+ after/],
  ['the stack of a defect', 'stack', /a defect is told$/m],
];
const isMore = moreIsAsked('a short soak, and four of its canaries');

describe.skipIf(!have('cc', 'the soak'))('a soak', () => {
  test.skipIf(!isMore)(
    'finds no hang, nothing left behind and no wrong byte',
    () => {
      const { status, stdout } = soak('0.25', '--seed', '1');
      expect(stdout).toMatch(/^soak: \d+ rounds \(.*\): 0 hangs, 0 leaks, 0 wrong bytes$/m);
      expect(status).toBe(0);
    },
    TIMEOUT_MS,
  );

  test.each(isMore ? canaries : canaries.slice(0, 2))(
    'would find %s, and names the round',
    (_, canary, message) => {
      const patience = canary === 'hang' ? '3' : '60';
      const { status, stdout } = soak(
        '1',
        '--seed',
        '5',
        '--canary',
        canary,
        '--patience',
        patience,
      );
      expect(stdout).toMatch(message);
      expect(stdout).toMatch('soak: --seed 5 --round 0 ');
      expect(status).toBe(1);
    },
    TIMEOUT_MS,
  );
});
