/**
 * One intercepted ioctl, ours beside the least that a supervisor in C can do, on the same
 * processors in the same run.
 *
 * Needs cc; says so where it is missing.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { median } from './figures.js';

const BDF = '0000:00:04.0';
const CALLS = 20_000;
const repository = resolve(import.meta.dirname, '../..');
const iopf = join(repository, 'dist/bundle/iopf.cjs');

/** Where the two processes may run. */
const placements: [name: string, prefix: string[]][] = [
  ['free placement', []],
  ['one processor', ['taskset', '-c', '0']],
];

/** Medians in microseconds by call, as the C program prints them. */
function measure(command: readonly string[]): Map<string, number> {
  const [file = '', ...args] = command;
  const { stdout, status, stderr } = spawnSync(file, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command.join(' ')}: ${stderr}`);
  return new Map(
    stdout
      .trim()
      .split('\n')
      .map((line) => [line.split(' ')[0]!, Number(line.split(' ')[1])]),
  );
}

export function benchIntercept(rounds: number): void {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  try {
    const binary = join(folder, 'intercept');
    const source = join(repository, 'bench/intercept.c');
    if (spawnSync('cc', ['-O2', '-o', binary, source]).status !== 0) {
      console.log('SKIPPED: intercepted calls: no C compiler (cc) on this machine');
      return;
    }
    for (const [placement, prefix] of placements) {
      const ours = new Map<string, number[]>();
      const loop = new Map<string, number[]>();
      const note = (into: Map<string, number[]>, command: string[]): void => {
        for (const [name, value] of measure([...prefix, ...command]))
          into.set(name, [...(into.get(name) ?? []), value]);
      };
      for (let round = 0; round < rounds; round++) {
        note(loop, [binary, 'loop', `${CALLS}`]);
        const run = [process.execPath, iopf, 'exec', '--quiet', '--device', `edu@${BDF}`, '--'];
        note(ours, [...run, binary, 'client', BDF, `${CALLS}`]);
      }
      console.log(`\nintercepted ioctl, ${placement}: median of ${rounds} × ${CALLS} calls`);
      for (const [name, values] of ours) {
        const [our, least] = [median(values), median(loop.get(name)!)];
        console.log(
          `  ${name.padEnd(18)} ${our.toFixed(2)} µs   C loop ${least.toFixed(2)} µs   ${(our / least).toFixed(2)}×`,
        );
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
