/**
 * A polling driver on our nvme, without system calls on a command's way: microseconds from doorbell
 * to completion as the driver sees them, and commands a second. Program and `iopf` both spin, so
 * they need a core each: never pin them on one.
 */
import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { median } from './figures.js';

const dist = join(resolve(import.meta.dirname, '../..'), 'dist');
const NVME = '0000:02:00.0';
const SECONDS = '1';

interface Figures {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
}

/** Where the supervisor and the program run: words before each of their commands. */
const placements: [name: string, supervisor: string[], program: string[]][] = [
  ['free placement', [], []],
  ['two cores', ['taskset', '-c', '0'], ['taskset', '-c', '1']],
];

const cases: [name: string, options: string[]][] = [
  ['4 KiB reads, 1 queue, depth 1', []],
  ['4 KiB writes, 1 queue, depth 1', ['--write']],
  ['4 KiB reads, 4 queues, depth 1', ['--queues', '4']],
  ['4 KiB reads, 4 queues, depth 32', ['--queues', '4', '--depth', '32']],
  ['4 KiB writes, 4 queues, depth 32', ['--queues', '4', '--depth', '32', '--write']],
  ['4 KiB reads, 1 queue, depth 1024', ['--depth', '1024']],
];

function measure(
  mode: string,
  supervisor: string[],
  program: string[],
  options: string[],
): Figures {
  const iopf = [process.execPath, join(dist, 'bundle/iopf.cjs'), 'exec', '--quiet', '--iopf', mode];
  const client = [
    process.execPath,
    join(dist, 'examples/nvme-poll/main.js'),
    NVME,
    '--seconds',
    SECONDS,
  ];
  const device = ['--device', `nvme@${NVME},size=64M`];
  const [command, ...words] = [
    ...supervisor,
    ...iopf,
    ...device,
    '--',
    ...program,
    ...client,
    ...options,
  ];
  const { stdout, stderr, status } = spawnSync(command!, words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`nvme-poll: ${stderr}`);
  return JSON.parse(stdout) as Figures;
}

export function benchPoll(rounds: number): void {
  for (const [placement, supervisor, program] of placements) {
    console.log(`\npolling driver on nvme, ${placement}, median of ${rounds} pairs: IOPF | pinned`);
    for (const [name, options] of cases) {
      const runs = { auto: [] as Figures[], off: [] as Figures[] };
      for (let round = 0; round < rounds; round++)
        for (const mode of ['auto', 'off'] as const)
          runs[mode].push(measure(mode, supervisor, program, options));
      const figures = [runs.auto, runs.off].map((all) => {
        const of = (pick: (one: Figures) => number): number => median(all.map(pick));
        return `p50 ${of(({ p50 }) => p50)} p99 ${of(({ p99 }) => p99)} us, ${of(({ perSecond }) => perSecond)} IOPS`;
      });
      console.log(`  ${name.padEnd(34)} ${figures.join('   |   ')}`);
    }
  }
}
