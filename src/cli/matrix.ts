/** `iopf exec` with `all` for `--kernel` or `--iopf`: a run for each, one table, one exit code. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RunSummary } from '../exec/run/summary.js';
import { howItEnded, refusalText } from '../exec/run/summary-text.js';
import { tell } from '../exec/run/tell.js';
import { printable } from '../input/printable.js';
import { formatSize } from '../input/size.js';
import { readSummary, Stop } from './child-runs.js';
import { caseName, type RunCase } from './junit.js';

export interface MatrixRun extends RunCase {
  readonly kernel: string;
  readonly iopf: string;
}

/**
 * A run at a time, each in an `iopf exec` of its own, which so begins as any other does.
 * `tellsEach`: a line says which begins.
 */
export async function runMatrix(
  kernels: readonly string[],
  modes: readonly string[],
  options: readonly string[],
  command: readonly string[],
  tellsEach: boolean,
): Promise<MatrixRun[]> {
  const folder = mkdtempSync(join(tmpdir(), 'iopf-matrix-'));
  const stop = new Stop();
  const runs: MatrixRun[] = [];
  try {
    for (const kernel of kernels)
      for (const iopf of modes) {
        if (stop.signal !== null) return runs;
        const name = caseName(kernel, iopf);
        if (tellsEach) tell(`run ${runs.length + 1} of ${kernels.length * modes.length}: ${name}`);
        const json = join(folder, `${kernel}-${iopf}.json`);
        const own = ['--kernel', kernel, '--iopf', iopf, '--json', json, '--quiet'];
        const words = [process.argv[1]!, 'exec', ...options, ...own];
        const started = performance.now();
        const child = spawn(process.execPath, [...words, '--', ...command], { stdio: 'inherit' });
        const exitCode = await stop.over(child);
        const seconds = (performance.now() - started) / 1000;
        runs.push({ name, kernel, iopf, exitCode, seconds, summary: readSummary(json) });
      }
    return runs;
  } finally {
    stop.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The exit code of all: that of the first run that did not end with 0. */
export function exitCodeOfAll(runs: readonly MatrixRun[]): number {
  return runs.find(({ exitCode }) => exitCode !== 0)?.exitCode ?? 0;
}

/** The table for people, and what was refused. */
export function formatMatrix(program: string, runs: readonly MatrixRun[]): string {
  const passed = runs.filter(({ exitCode }) => exitCode === 0).length;
  const titles = ['kernel', 'IOPF', 'result', 'mapped', 'pinned', 'needed', 'faults', 'refused'];
  const rows = runs.map(({ exitCode, iopf, kernel, summary }) => [
    kernel,
    iopf,
    ...(summary === null ? [`iopf: exit code ${exitCode}`, '', '', '', '', ''] : cells(summary)),
  ]);
  const widths = titles.map((title, at) =>
    Math.max(title.length, ...rows.map((row) => row[at]!.length)),
  );
  const line = (row: readonly string[]): string =>
    `  ${row.map((cell, at) => (at < 3 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!))).join('  ')}`.trimEnd();
  const refusals = runs.flatMap(({ name, summary }) =>
    summary?.refused[0] === undefined ? [] : [`  ${name}: ${refusalText(summary.refused[0])}`],
  );
  const head = `iopf: ${printable(program)}: ${passed} of ${runs.length} runs ended with 0`;
  return [head, line(titles), ...rows.map(line), ...refusals].join('\n');
}

function cells(summary: RunSummary): string[] {
  const { faults, mappedBytesPeak, pinnedBytesPeak, refusedAccesses, residentBytesPeak } = summary;
  return [
    howItEnded(summary),
    formatSize(mappedBytesPeak),
    formatSize(pinnedBytesPeak),
    formatSize(residentBytesPeak),
    `${faults}`,
    `${refusedAccesses}`,
  ];
}
