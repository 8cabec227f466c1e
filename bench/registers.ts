/**
 * A load and a store of a mapped register beside a pread of it and a call that does nothing, on the
 * same processors in the same run.
 *
 * Needs cc; says so where it is missing.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { median } from './figures.js';

const BDF = '0000:03:00.0';
const CALLS = 10_000;
const repository = resolve(import.meta.dirname, '../..');
const iopf = join(repository, 'dist/bundle/iopf.cjs');
const placements: [name: string, prefix: string[]][] = [
  ['free placement', []],
  ['one processor', ['taskset', '-c', '0']],
];

export function benchRegisters(rounds: number): void {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  try {
    const binary = join(folder, 'registers');
    const source = join(repository, 'bench/registers.c');
    if (spawnSync('cc', ['-O2', '-o', binary, source]).status !== 0) {
      console.log('SKIPPED: mapped registers: no C compiler (cc) on this machine');
      return;
    }
    const exec = [process.execPath, iopf, 'exec', '--quiet', '--device', `virtio-net@${BDF}`, '--'];
    for (const [placement, prefix] of placements) {
      const figures = new Map<string, number[]>();
      for (let round = 0; round < rounds; round++) {
        const [file = '', ...words] = [...prefix, ...exec, binary, BDF, `${CALLS}`];
        const { stdout, status, stderr } = spawnSync(file, words, { encoding: 'utf8' });
        if (status !== 0) throw new Error(`bench registers: ${stderr}`);
        for (const line of stdout.trim().split('\n')) {
          const [name = '', value = ''] = line.split(' ');
          figures.set(name, [...(figures.get(name) ?? []), Number(value)]);
        }
      }
      console.log(`\nmapped registers, ${placement}: median of ${rounds} × ${CALLS}`);
      const call = median(figures.get('pread')!);
      for (const [name, values] of figures) {
        const value = median(values);
        const ratio = (value / call).toFixed(2);
        console.log(`  ${name.padEnd(12)} ${value.toFixed(2)} µs   ${ratio}× pread`);
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
