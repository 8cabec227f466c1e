/** What programs do to their own memory: each mode of memory.c is a sentence below. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { have, skip } from '../skip.js';
import { edu, type RunResult, runIopf } from './run-iopf.js';

const CANNOT_TRY = 77;

describe.skipIf(!have('cc', 'the programs of memory.c'))('a program', () => {
  const folder = mkdtempSync(join(tmpdir(), 'test-memory-'));
  const binary = join(folder, 'memory');
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  beforeAll(() => {
    const source = join(import.meta.dirname, 'programs/memory.c');
    execFileSync('cc', ['-O1', '-Wall', '-Wextra', '-pthread', '-o', binary, source]);
  });

  async function run(mode: string, iopf: string, options: string[] = []): Promise<RunResult> {
    const device = ['--device', `edu@${edu}`, '--iopf', iopf];
    return await runIopf([...device, ...options], [binary, mode, edu, iopf]);
  }

  const both: [sentence: string, mode: string][] = [
    ['whose main thread ends goes on in other threads, which end, too', 'leader ends'],
    ['whose main thread has ended can open VFIO', 'leader ends first'],
    ['keeps what a child with the same memory has mapped', 'child maps'],
    ['keeps what a child with the same memory has opened and mapped', 'child opens'],
    ['makes any call while a page is waited for that its handler brings', 'handler'],
    ['maps a file of a file system that it serves itself', 'file system'],
  ];
  const cases: [sentence: string, mode: string, iopf: string, ...options: string[]][] = [
    ...both.flatMap(([sentence, mode]) =>
      ['auto', 'off'].map((iopf): [string, string, string] => [sentence, mode, iopf]),
    ),
    ['rings a doorbell and serves the fault in one thread', 'own handler', 'auto'],
    ['brings a page from a child that opens a container first', 'handler in child', 'auto'],
    ['waits in many calls for its pages, few of them in iopf', 'many wait', 'auto'],
    ['locks memory beside what is pinned, within one limit', 'lock', 'off'],
    ['has no right to lock by a user namespace', 'lock in namespace', 'off'],
    ['is held to its own limit as another user', 'lock as other user', 'off'],
    ['pins files for writing before Linux 6.5', 'pins files', 'off', '--kernel', '6.1'],
    ['cannot pin files for writing since Linux 6.5', 'refuses files', 'off'],
  ];

  test.for(cases)('%s (%s, --iopf %s)', async ([, mode, iopf, ...options], context) => {
    const { code, stdout, stderr } = await run(mode, iopf, options);
    if (code === CANNOT_TRY) skip(context, stdout);
    if (mode === 'lock as other user' && /may not read its memory/.test(stderr))
      skip(context, stderr);
    expect(`${stdout}${stderr}`).toMatch(/^ok\n/);
    expect(code).toBe(0);
  });

  test('is killed while a page is waited for that nobody brings', async (context) => {
    const { code, stdout, stderr } = await run('no handler', 'auto');
    if (code === CANNOT_TRY) skip(context, stdout);
    expect(stdout).toBe('');
    expect(stderr).not.toContain('defect');
    expect(code).toBe(137);
  });
});
