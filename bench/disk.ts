/** `qemu-img bench` on our nvme through its mapped doorbells, with I/O page faults and without. */
import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { median } from './figures.js';

const iopf = join(resolve(import.meta.dirname, '../..'), 'dist/bundle/iopf.cjs');
const NVME = '0000:02:00.0';

/** Requests per second of one run. */
function requestsPerSecond(
  mode: string,
  size: number,
  depth: number,
  count: number,
  isWrite: boolean,
  options: readonly string[] = [],
): number {
  const bench = [
    'qemu-img',
    'bench',
    '-f',
    'raw',
    '-t',
    'none',
    '-c',
    `${count}`,
    '-d',
    `${depth}`,
    '-s',
    `${size}`,
  ];
  const { stdout, status, stderr } = spawnSync(
    process.execPath,
    [
      iopf,
      'exec',
      '--quiet',
      '--iopf',
      mode,
      ...options,
      '--device',
      `nvme@${NVME},size=256M`,
      '--',
      ...bench,
      ...(isWrite ? ['-w'] : []),
      `nvme://${NVME}/1`,
    ],
    { encoding: 'utf8' },
  );
  const seconds = /Run completed in ([\d.]+) seconds/.exec(stdout)?.[1];
  if (status !== 0 || seconds === undefined) throw new Error(`qemu-img bench: ${stderr}`);
  return count / Number(seconds);
}

export function benchDisk(rounds: number): void {
  if (spawnSync('qemu-img', ['--version']).status !== 0) {
    console.log(
      'SKIPPED: disk: no qemu-img on this machine (Debian: qemu-utils, qemu-block-extra)',
    );
    return;
  }
  console.log(`\nqemu-img bench on nvme, free placement, median of ${rounds} pairs`);
  const cases: [name: string, size: number, depth: number, count: number, isWrite: boolean][] = [
    ['4 KiB reads, depth 32', 4096, 32, 300_000, false],
    ['4 KiB writes, depth 32', 4096, 32, 300_000, true],
    ['4 KiB reads, depth 1', 4096, 1, 20_000, false],
    ['128 KiB reads, depth 8', 131072, 8, 30_000, false],
    ['128 KiB writes, depth 8', 131072, 8, 30_000, true],
  ];
  for (const [name, size, depth, count, isWrite] of cases) {
    const auto: number[] = [];
    const off: number[] = [];
    for (let round = 0; round < rounds; round++) {
      auto.push(requestsPerSecond('auto', size, depth, count, isWrite));
      off.push(requestsPerSecond('off', size, depth, count, isWrite));
    }
    const [withFaults, pinned] = [median(auto), median(off)];
    const rate = (value: number): string =>
      `${Math.round(value)} IOPS (${((value * size) / 1e9).toFixed(2)} GB/s)`;
    console.log(
      `  ${name.padEnd(24)} IOPF ${rate(withFaults)}   pinned ${rate(pinned)}   ${(withFaults / pinned).toFixed(2)}×`,
    );
  }
  const scanned: number[] = [];
  const plain: number[] = [];
  for (let round = 0; round < rounds; round++) {
    scanned.push(requestsPerSecond('auto', 4096, 32, 300_000, false, ['--reclaim-scan', '100']));
    plain.push(requestsPerSecond('auto', 4096, 32, 300_000, false));
  }
  const [withScan, without] = [median(scanned), median(plain)];
  console.log(
    `  4 KiB reads, depth 32    --reclaim-scan 100 ${Math.round(withScan)} IOPS   without ${Math.round(without)} IOPS   ${(withScan / without).toFixed(2)}×`,
  );
}
