/**
 * What it costs to start: processor time of a whole tree of processes, beside that of an empty Node
 * program. A test suite has a thousand small runs.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { median } from './figures.js';

const repository = resolve(import.meta.dirname, '../..');
/** As it is installed. */
const iopf = join(repository, 'bin/iopf');
const bundle = join(repository, 'dist/bundle/iopf.cjs');
/** The kernel counts children's time in ticks of 10 ms: so many runs go into one figure. */
const RUNS = 10;
const TICK_MS = 10;

const exec = ['exec', '--quiet'];
const nvme = ['--device', 'nvme@0000:02:00.0,size=64M'];
const commands: [name: string, command: string, words: string[]][] = [
  ['node -e 0', process.execPath, ['-e', '0']],
  ['iopf --version', iopf, ['--version']],
  ['iopf exec -- true', iopf, [...exec, '--', 'true']],
  ['iopf exec --device nvme -- true', iopf, [...exec, ...nvme, '--', 'true']],
  [
    'the same without the shell of bin/iopf',
    process.execPath,
    [bundle, ...exec, ...nvme, '--', 'true'],
  ],
];

/** Milliseconds of a processor that children took which have ended and were waited for. */
function childrenMs(): number {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) * TICK_MS;
}

/** Milliseconds of a processor that one run takes, on average. */
export function processorMs(command: string, words: readonly string[], runs = RUNS): number {
  const before = childrenMs();
  for (let run = 0; run < runs; run++) {
    const { status, stderr } = spawnSync(command, words, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`${command} ${words.join(' ')}: ${stderr}`);
  }
  return (childrenMs() - before) / runs;
}

export function benchStartup(rounds: number): void {
  console.log(`\nstart-up, CPU of the whole tree, median of ${rounds} rounds of ${RUNS} runs`);
  const figures = commands.map((): number[] => []);
  for (let round = 0; round < rounds; round++)
    for (const [index, [, command, words]] of commands.entries())
      figures[index]!.push(processorMs(command, words));
  const empty = median(figures[0]!);
  for (const [index, [name]] of commands.entries()) {
    const ms = median(figures[index]!);
    console.log(`  ${name.padEnd(40)} ${ms.toFixed(0)} ms, ${(ms / empty).toFixed(1)}x`);
  }
}
