/**
 * A load and a store of a mapped register beside a pread of it and a call that does nothing, on the
 * same processors in the same run; what programs pay that map none; and dpdk-testpmd, which tells
 * its card of packets through a page that is open, beside examples/packet-loop.
 *
 * Needs cc and dpdk-testpmd; says so where one is missing.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Testpmd } from '../test/exec/testpmd.js';
import { median } from './figures.js';
import { packetsPerSecond } from './net.js';
import { processorMs } from './startup.js';

const BDF = '0000:03:00.0';
const CALLS = 10_000;
const repository = resolve(import.meta.dirname, '../..');
const iopf = join(repository, 'dist/bundle/iopf.cjs');
const placements: [name: string, prefix: string[]][] = [
  ['free placement', []],
  ['one processor', ['taskset', '-c', '0']],
];

export async function benchRegisters(rounds: number): Promise<void> {
  benchAccesses(rounds);
  benchStart(rounds);
  await benchTestpmd(rounds);
}

function benchAccesses(rounds: number): void {
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
      const figures = new Map<string, { wall: number[]; processor: number[] }>();
      for (let round = 0; round < rounds; round++) {
        const [file = '', ...words] = [...prefix, ...exec, binary, BDF, `${CALLS}`];
        const { stdout, status, stderr } = spawnSync(file, words, { encoding: 'utf8' });
        if (status !== 0) throw new Error(`bench registers: ${stderr}`);
        for (const line of stdout.trim().split('\n')) {
          const [name = '', wall, processor] = line.split(' ');
          const before = figures.get(name) ?? { wall: [], processor: [] };
          before.wall.push(Number(wall));
          before.processor.push(Number(processor));
          figures.set(name, before);
        }
      }
      console.log(`\nmapped registers, ${placement}: median of ${rounds} × ${CALLS}`);
      const pread = figures.get('pread')!;
      const cell = (values: number[], beside: number[]): string => {
        const ratio = (median(values) / median(beside)).toFixed(2);
        return `${median(values).toFixed(2).padStart(7)} µs ${ratio.padStart(5)}× pread`;
      };
      for (const [name, { wall, processor }] of figures)
        console.log(
          `  ${name.padEnd(12)} ${cell(wall, pread.wall)}   processor time ${cell(processor, pread.processor)}`,
        );
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const EXECS = 50;

/** Programs that map nothing: with the page in each of them, and without. */
function benchStart(rounds: number): void {
  const device = ['--device', `virtio-net@${BDF}`];
  const words = (traps: string, script: string): string[] => [
    ...[iopf, 'exec', '--quiet', '--traps', traps, ...device, '--', 'sh', '-c', script],
  ];
  const scripts: [name: string, script: string, count: number][] = [
    ['a run', 'exec true', 1],
    ['a program in it', `for i in $(seq ${EXECS}); do env true; done`, EXECS],
  ];
  console.log(`\nprocessor time without mapped registers, median of ${rounds} × 5 runs`);
  for (const [name, script, count] of scripts) {
    const times = { on: [] as number[], off: [] as number[] };
    for (let round = 0; round < rounds; round++)
      for (const traps of ['on', 'off'] as const)
        times[traps].push(processorMs(process.execPath, words(traps, script), 5) / count);
    const [on, off] = [median(times.on), median(times.off)];
    console.log(
      `  ${name.padEnd(16)} ${on.toFixed(2)} ms   --traps off ${off.toFixed(2)} ms   ${(on / off).toFixed(2)}×`,
    );
  }
}

const FORWARD_MS = 2000;
/** Bursts of 32 on their way, as many packets as packet-loop has. */
const BURSTS = 4;

async function benchTestpmd(rounds: number): Promise<void> {
  if (spawnSync('sh', ['-c', 'command -v dpdk-testpmd']).status !== 0) {
    console.log('SKIPPED: testpmd beside packet-loop: no dpdk-testpmd on this machine');
    return;
  }
  const testpmd: number[] = [];
  const loop: number[] = [];
  for (let round = 0; round < rounds; round++) {
    testpmd.push(await testpmdRate());
    loop.push(packetsPerSecond('auto', 64, 'map'));
  }
  const [rate, beside] = [median(testpmd), median(loop)];
  console.log(
    `\n64 B looped back through open notifications, free placement, median of ${rounds}\n` +
      `  dpdk-testpmd io ${Math.round(rate)} packets/s   packet-loop ${Math.round(beside)} packets/s   ` +
      `${(rate / beside).toFixed(2)}×`,
  );
}

/** Packets per second that testpmd gets back. */
async function testpmdRate(): Promise<number> {
  const testpmd = new Testpmd('', ['--quiet'], []);
  try {
    await testpmd.command('set fwd io');
    await testpmd.command(`start tx_first ${BURSTS}`);
    const first = await testpmd.packets();
    const began = performance.now();
    await sleep(FORWARD_MS);
    const { received } = await testpmd.packets();
    const seconds = (performance.now() - began) / 1000;
    await testpmd.command('stop');
    await testpmd.quit();
    return (received - first.received) / seconds;
  } finally {
    await testpmd.close();
  }
}
