/**
 * What mapping on demand costs: examples/on-demand, whose program answers each page request of its
 * device from a fault queue, beside the same program that leaves that to IOPF.
 */
import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { median } from './figures.js';

const dist = join(resolve(import.meta.dirname, '../..'), 'dist');
const ADDRESS = '0000:00:04.0';

/** Microseconds for each page that the device copies. */
function measure(device: string, words: readonly string[]): number {
  const iopf = [join(dist, 'bundle/iopf.cjs'), 'exec', '--quiet', '--kernel', '7.2'];
  const main = [process.execPath, join(dist, 'examples/on-demand/main.js'), ADDRESS, 'json'];
  const all = [...iopf, '--device', `${device}@${ADDRESS}`, '--', ...main, ...words];
  const { stdout, stderr, status } = spawnSync(process.execPath, all, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`on-demand: ${stderr}`);
  const { copies, microseconds } = JSON.parse(stdout) as { copies: number; microseconds: number };
  return microseconds / copies;
}

export function benchFaultQueue(rounds: number): void {
  console.log(`\n500 copies of 256 pages on demand, median of ${rounds} pairs, us a copy:`);
  console.log('  device   fault queue, the program maps   IOPF   ratio');
  for (const device of ['ats', 'edu', 'nvme']) {
    const queue: number[] = [];
    const left: number[] = [];
    for (let round = 0; round < rounds; round++) {
      queue.push(measure(device, []));
      left.push(measure(device, ['iopf']));
    }
    const [one, two] = [median(queue), median(left)];
    const figures = [one.toFixed(1).padStart(29), two.toFixed(1).padStart(6)];
    console.log(`  ${device.padEnd(6)} ${figures.join(' ')} ${(one / two).toFixed(2).padStart(7)}`);
  }
}
