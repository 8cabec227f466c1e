/** Runs the built `iopf` command as a user would, and gathers what it said. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import type { RunSummary } from '../../src/exec/run/summary.js';

const above = resolve(import.meta.dirname, '../..');
/** Also where this file has been built, as benches have it. */
export const repository = basename(above) === 'dist' ? dirname(above) : above;
export const iopf = join(repository, 'dist/bundle/iopf.cjs');
export const edu = '0000:00:04.0';
export const nvme = '0000:02:00.0';

export interface RunResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** What `--json` wrote, or null where nothing ran. */
  readonly summary: RunSummary | null;
}

/** Path of a program of test/exec/programs, compiled. */
export const program = (name: string): string =>
  join(repository, `dist/test/exec/programs/${name}.js`);

/** `iopf exec OPTIONS -- COMMAND`, to its end. */
export async function runIopf(
  options: readonly string[],
  command: readonly string[],
): Promise<RunResult> {
  const folder = mkdtempSync(join(tmpdir(), 'test-exec-'));
  const json = join(folder, 'summary.json');
  try {
    const child = spawn(
      process.execPath,
      [iopf, 'exec', '--json', json, ...options, '--', ...command],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (text) => {
      stdout += text;
    });
    child.stderr.on('data', (text) => {
      stderr += text;
    });
    const code = await new Promise<number | null>((done) => child.on('close', done));
    let summary: RunSummary | null = null;
    try {
      summary = JSON.parse(readFileSync(json, 'utf8')) as RunSummary;
    } catch {
      // Nothing ran.
    }
    return { code, stdout, stderr, summary };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** `qemu-img bench` on our nvme: 4 KiB reads, so many, at this depth. */
export const qemuBench = (count: number, depth: number): string[] =>
  `qemu-img bench -f raw -t none -c ${count} -d ${depth} -s 4096 nvme://${nvme}/1`.split(' ');
