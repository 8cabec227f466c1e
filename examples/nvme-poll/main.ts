/**
 * Reads or writes the blocks of an NVMe disk at random through several queues, polling, and tells
 * how fast that was.
 *
 * It makes plain system calls and would drive a real NVMe disk too: with --write it destroys what
 * is on it. Usage: node main.js [BDF] [--queues N] [--depth N] [--seconds S] [--write] [--pwrite]
 * (doorbells by system calls). Prints JSON: commands a second, and microseconds from doorbell to
 * completion.
 */
import { parseArgs } from 'node:util';
import { IoOpcode } from '../../src/device/nvme/command.js';
import { Register } from '../../src/device/nvme/registers.js';
import { VfioClient } from '../dma-copy/vfio.js';
import { NvmePollDriver, Patience } from './driver.js';

const IO_BYTES = 4096;
const BLOCK_BYTES = 512;
const DISK_BYTES = 32 * 2 ** 20;
/** Latencies that are kept: the last ones. */
const SAMPLES = 2 ** 20;
/** Looks at the queues between two looks at the clock, while nothing comes. */
const LOOKS = 64;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    queues: { type: 'string', default: '1' },
    depth: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '1' },
    write: { type: 'boolean', default: false },
    pwrite: { type: 'boolean', default: false },
  },
});
const depth = Number(values.depth);
const opcode = values.write ? IoOpcode.WRITE : IoOpcode.READ;

const vfio = new VfioClient(positionals[0] ?? '0000:02:00.0');
const entries = depth + 1;
const lineBytes = entries * (64 + 16) + depth * IO_BYTES + 8192;
const driver = new NvmePollDriver(
  vfio,
  16384 + Number(values.queues) * Math.ceil(lineBytes / 4096) * 4096,
);
const lines = [...Array(Number(values.queues)).keys()].map((index) => ({
  queue: driver.createQueue(index + 1, entries),
  buffers: driver.iova(driver.allocate(depth * IO_BYTES)),
  began: new Float64Array(depth),
}));
if (values.pwrite)
  for (const { queue } of lines)
    queue.store = (doorbell, value) =>
      vfio.writeRegion(0, Register.DOORBELLS + 4 * doorbell, 4, value);

let state = 1;
function submit({ queue, buffers, began }: (typeof lines)[number], slot: number): void {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  const block = (state % (DISK_BYTES / IO_BYTES)) * (IO_BYTES / BLOCK_BYTES);
  began[slot] = performance.now();
  queue.push(opcode, slot, 1, buffers + slot * IO_BYTES, 0, block, 0, IO_BYTES / BLOCK_BYTES - 1);
}

const samples = new Float64Array(SAMPLES);
let done = 0;
/** Takes what has come and submits as much again; false: nothing had come. */
function look(line: (typeof lines)[number], again: boolean): boolean {
  const { queue, began } = line;
  let found = false;
  for (let slot = queue.take(); slot >= 0; slot = queue.take()) {
    if (queue.status !== 0) throw new Error(`status 0x${queue.status.toString(16)}`);
    samples[done++ % SAMPLES] = performance.now() - began[slot]!;
    if (again) submit(line, slot);
    found = true;
  }
  if (!found) return false;
  queue.acknowledge();
  if (again) queue.ring();
  return true;
}

for (const line of lines) {
  for (let slot = 0; slot < depth; slot++) submit(line, slot);
  line.queue.ring();
}
const start = performance.now();
const end = start + Number(values.seconds) * 1000;
let now = start;
while (now < end) {
  for (let looks = 0; looks < LOOKS; looks++) for (const line of lines) look(line, true);
  now = performance.now();
}
const finished = done;
const patience = new Patience(10_000, 'no completion');
while (done < finished + lines.length * depth)
  for (const line of lines)
    if (look(line, false)) patience.renew();
    else patience.look();
driver.shutDown();
vfio.close();

const sorted = samples.subarray(0, Math.min(done, SAMPLES)).sort();
const microseconds = (part: number): number =>
  Number((sorted[Math.floor(part * (sorted.length - 1))]! * 1000).toFixed(1));
console.log(
  JSON.stringify({
    perSecond: Math.round(finished / ((now - start) / 1000)),
    p50: microseconds(0.5),
    p99: microseconds(0.99),
    max: microseconds(1),
  }),
);
