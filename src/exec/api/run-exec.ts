/**
 * Runs a program as `iopf exec` does, for test suites: `iopf/exec`.
 *
 * ```ts
 * import assert from 'node:assert/strict';
 * import { runExec } from 'iopf/exec';
 * const options = { devices: ['./ring.ts@0000:01:00.0'] };
 * const { exitCode, summary } = await runExec('./driver', ['0000:01:00.0'], options);
 * assert.equal(exitCode, 0);
 * assert.deepEqual(summary.refused, []);
 * ```
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageFile } from '../../input/package-file.js';
import type { RunSummary } from '../run/summary.js';

export type { RunSummary } from '../run/summary.js';

export interface RunExecOptions {
  /** As `--device` takes them: `nvme@0000:01:00.0`. */
  readonly devices?: readonly string[];
  /** Other words for `iopf exec`: `['--iopf', 'off']`. */
  readonly words?: readonly string[];
  /** The directory and the environment of the program; those of the caller unless given. */
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Ends the run, by SIGTERM to the program. */
  readonly signal?: AbortSignal;
}

export interface RunExecResult {
  /** The program's, as a shell has it: 128 + N where signal N ended it. */
  readonly exitCode: number;
  readonly stdout: string;
  /** The program's, and what iopf says. */
  readonly stderr: string;
  /** What `--json` writes: docs/exec.md. */
  readonly summary: RunSummary;
}

/** Throws an Error with what iopf says where nothing ran, or a device ended the run. */
export async function runExec(
  program: string,
  programArguments: readonly string[] = [],
  options: RunExecOptions = {},
): Promise<RunExecResult> {
  const { cwd, devices = [], env, signal, words = [] } = options;
  const folder = mkdtempSync(join(tmpdir(), 'iopf-run-'));
  const json = join(folder, 'summary.json');
  try {
    const all = [
      'exec',
      ...devices.flatMap((device) => ['--device', device]),
      ...words,
      ...['--quiet', '--json', json, '--', program, ...programArguments],
    ];
    const child = spawn(packageFile('bin/iopf'), all, {
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(cwd === undefined ? {} : { cwd }),
      ...(env === undefined ? {} : { env }),
    });
    const stop = (): void => void child.kill('SIGTERM');
    signal?.addEventListener('abort', stop);
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const)
      child[name].setEncoding('utf8').on('data', (text: string) => {
        output[name] += text;
      });
    const exitCode = await new Promise<number>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code) => resolve(code ?? 1));
    });
    signal?.removeEventListener('abort', stop);
    return { exitCode, ...output, summary: summaryOf(json, output.stderr) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function summaryOf(json: string, stderr: string): RunSummary {
  try {
    return JSON.parse(readFileSync(json, 'utf8')) as RunSummary;
  } catch {
    throw new Error(stderr.trim() || 'iopf exec wrote no summary');
  }
}
