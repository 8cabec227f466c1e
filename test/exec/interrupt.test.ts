/** Signals without SA_RESTART: each mode of programs/interrupt.c is a sentence below. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { available, have } from '../skip.js';
import { edu, runIopf } from './run-iopf.js';

const isX64 = available(process.arch === 'x64', 'the programs of interrupt.c', 'not x86-64');

describe.skipIf(!isX64 || !have('cc', 'the programs of interrupt.c'))('a signal', () => {
  const folder = mkdtempSync(join(tmpdir(), 'test-interrupt-'));
  const binary = join(folder, 'interrupt');
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  beforeAll(() => {
    const source = join(import.meta.dirname, 'programs/interrupt.c');
    execFileSync('cc', ['-O1', '-Wall', '-Wextra', '-pthread', '-o', binary, source]);
  });

  test.each([
    ['that comes before a call is received is not seen in its result', 'watched'],
    ['is not seen in calls either where it comes 10,000 times a second', 'often'],
    ['interrupts what waits, as the program wants it', 'waiting'],
    ['has the action that the program gave it', 'actions'],
  ])('%s', async (_, mode) => {
    const { code, stdout, stderr } = await runIopf(['--device', `edu@${edu}`], [binary, mode, edu]);
    expect(`${stdout}${stderr}`).toMatch(/^ok\n/);
    expect(code).toBe(0);
  });
});
