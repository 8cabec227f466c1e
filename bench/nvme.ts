/**
 * What the NVMe controller itself costs per command, in process: queues and data in simulated
 * frames, doorbells in the mapped BAR, pages resident. Run: `npx tsx bench/nvme.ts`, or after a
 * build `node dist/bench/nvme.js`.
 *
 * The copies of the simulated frames stand for process_vm_readv/writev; the last column adds what
 * those calls cost where they were measured (1.3 µs a call, 0.37 µs a segment) to the controller's
 * own time without copies.
 */
import { Register } from '../src/device/nvme/registers.js';
import type { SegmentList } from '../src/mm/frame-memory.js';
import { NvmeDriver, type QueuePair } from '../test/device/nvme-driver.js';

const CALL_US = 1.3;
const SEGMENT_US = 0.37;

interface Load {
  readonly name: string;
  readonly opcode: number;
  readonly bytes: number;
  readonly depth: number;
}

interface Rate {
  readonly perSecond: number;
  readonly deviceUs: number;
  readonly callsPerCommand: number;
  readonly segmentsPerCommand: number;
}

/**
 * Runs a load for some milliseconds. `copies`: whether the bytes really move, except for queues.
 */
function measure(load: Load, milliseconds: number, copies: boolean): Rate {
  const driver = new NvmeDriver({ size: '64M' }, { pages: 8192 });
  driver.enable();
  driver.device.interruptsEnabled(2, 2);
  const queue = driver.createQueue(1, 256, 1);
  const prps = [...Array(load.depth).keys()].map(() =>
    driver.prp(driver.pages(Math.ceil(load.bytes / 4096)), load.bytes),
  );
  const { memory } = driver.program;
  const doorbells = new Int32Array(driver.program.regions.get(0)!.bytes.buffer, Register.DOORBELLS);
  let segments = 0;
  memory.beforeCopy = (list: SegmentList) => {
    segments += list.count;
  };
  memory.copies = copies;
  const blocks = load.bytes / 512;
  const places = (64 * 2048) / blocks;
  let state = 1;
  let commands = 0;
  let deviceNs = 0n;
  let calls = 0;
  const round = () => {
    for (const prp of prps) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      const dw10 = (state % places) * blocks;
      queue.push({ opcode: load.opcode, namespace: 1, ...prp, dw10, dw12: blocks - 1 });
    }
    doorbells[2] = queue.tail;
    const began = process.hrtime.bigint();
    driver.device.poll();
    deviceNs += process.hrtime.bigint() - began;
    commands += reap(queue);
    doorbells[3] = queue.head;
  };
  for (let warm = 0; warm < 3000; warm++) round();
  commands = 0;
  deviceNs = 0n;
  segments = 0;
  calls = memory.calls;
  const end = process.hrtime.bigint() + BigInt(milliseconds) * 1_000_000n;
  while (process.hrtime.bigint() < end) for (let count = 0; count < 50; count++) round();
  const deviceUs = Number(deviceNs) / 1000 / commands;
  return {
    perSecond: 1e6 / deviceUs,
    deviceUs,
    callsPerCommand: (memory.calls - calls) / commands,
    segmentsPerCommand: segments / commands,
  };
}

function reap(queue: QueuePair): number {
  let count = 0;
  for (let one = queue.take(false); one; one = queue.take(false)) {
    if (one.status !== 0) throw new Error(`status ${one.status}`);
    count++;
  }
  return count;
}

const loads: Load[] = [
  { name: '4 KiB read, depth 1', opcode: 2, bytes: 4096, depth: 1 },
  { name: '4 KiB read, depth 32', opcode: 2, bytes: 4096, depth: 32 },
  { name: '4 KiB write, depth 32', opcode: 1, bytes: 4096, depth: 32 },
  { name: '128 KiB read, depth 8', opcode: 2, bytes: 131072, depth: 8 },
];

console.log('load                     device  with copies  calls/cmd  segs/cmd  with calls');
for (const load of loads) {
  const bare = measure(load, 400, false);
  const copied = measure(load, 400, true);
  const projectedUs =
    bare.deviceUs + bare.callsPerCommand * CALL_US + bare.segmentsPerCommand * SEGMENT_US;
  const columns = [
    load.name.padEnd(22),
    `${bare.deviceUs.toFixed(2)} us`.padStart(9),
    `${Math.round(copied.perSecond / 1000)} k/s`.padStart(12),
    bare.callsPerCommand.toFixed(2).padStart(10),
    bare.segmentsPerCommand.toFixed(2).padStart(9),
    `${Math.round(1000 / projectedUs)} k/s`.padStart(11),
  ];
  console.log(columns.join(' '));
}
