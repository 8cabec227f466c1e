/** `iopf exec` with `all` for `--kernel` or `--iopf`: a run for each, one table, one exit code. */
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
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

export interface MatrixOptions {
  /** Runs at the same time; of more than one, what they write comes when each is over. */
  readonly jobs: number;
  /** A line says which begins. */
  readonly tellsEach: boolean;
}

/** Each run in an `iopf exec` of its own, which so begins as any other does. */
export async function runMatrix(
  kernels: readonly string[],
  modes: readonly string[],
  options: readonly string[],
  command: readonly string[],
  { jobs, tellsEach }: MatrixOptions,
): Promise<MatrixRun[]> {
  const folder = mkdtempSync(join(tmpdir(), 'iopf-matrix-'));
  const stop = new Stop();
  const all = kernels.flatMap((kernel) => modes.map((iopf) => ({ kernel, iopf })));
  const runs: MatrixRun[] = [];
  const oneAfterAnother = async (): Promise<void> => {
    for (let at = next++; at < all.length && stop.signal === null; at = next++) {
      const { iopf, kernel } = all[at]!;
      const name = caseName(kernel, iopf);
      if (tellsEach) tell(`run ${at + 1} of ${all.length}: ${name}`);
      const json = join(folder, `${kernel}-${iopf}.json`);
      const own = ['--kernel', kernel, '--iopf', iopf, '--json', json, '--quiet'];
      const words = [process.argv[1]!, 'exec', ...options, ...own, '--', ...command];
      const started = performance.now();
      const exitCode =
        jobs === 1
          ? await stop.over(spawn(process.execPath, words, { stdio: 'inherit' }))
          : await overAtOnce(stop, words, join(folder, `${kernel}-${iopf}`));
      const seconds = (performance.now() - started) / 1000;
      runs[at] = { name, kernel, iopf, exitCode, seconds, summary: readSummary(json) };
    }
  };
  let next = 0;
  try {
    await Promise.all(Array.from({ length: Math.min(jobs, all.length) }, oneAfterAnother));
    return runs.filter((run) => run !== undefined);
  } finally {
    stop.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs a child to its end, and passes on what it wrote. */
async function overAtOnce(stop: Stop, words: readonly string[], kept: string): Promise<number> {
  const [stdout, stderr] = [`${kept}.stdout`, `${kept}.stderr`];
  const [out, err] = [openSync(stdout, 'wx'), openSync(stderr, 'wx')];
  try {
    return await stop.over(spawn(process.execPath, words, { stdio: ['ignore', out, err] }));
  } finally {
    closeSync(out);
    closeSync(err);
    process.stdout.write(readFileSync(stdout));
    process.stderr.write(readFileSync(stderr));
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
