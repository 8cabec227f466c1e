/**
 * What a packet through the virtio-net card costs, looped back: the card by itself, in process (and
 * the igb beside it), and a polling program (`examples/packet-loop`) under `iopf exec`, with I/O
 * page faults and without, with mapped notifications and with calls.
 *
 * In process the copies of simulated frames stand for process_vm_readv/writev; the last column adds
 * what those calls cost where they were measured (1.3 µs a call, 0.37 µs a segment).
 */
import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { PciInterruptIndex } from '../src/abi/pci.js';
import { Feature } from '../src/device/virtio/registers.js';
import type { SegmentList } from '../src/mm/frame-memory.js';
import { IgbDriver, plainFrame } from '../test/device/igb-driver.js';
import type { Program } from '../test/device/program.js';
import { HEADER_BYTES, NetDriver, type Part } from '../test/device/virtio-driver.js';
import { median } from './figures.js';

/** RCTL.SECRC; a transmit descriptor's command for a whole frame, and to be told of it. */
const STRIP_CRC = 0x04000000;
const SEND = 0x23300000;
const REPORT = 0x08000000;
const CALL_US = 1.3;
const SEGMENT_US = 0.37;
const ROUNDS = 4000;
const PACKETS = 200_000;
const repository = resolve(import.meta.dirname, '../..');
const NET = '0000:03:00.0';

/** Bursts of `depth` packets of `bytes` bytes; the median burst counts. */
function cardByItself(bytes: number, depth: number, features: readonly number[]): void {
  const driver = new NetDriver({ program: { pages: 2048 } });
  driver.device.interruptsEnabled(PciInterruptIndex.MSIX, 1);
  driver.start(features, 256);
  const { rx, tx } = driver;
  const { memory } = driver.program;
  const targets: Part[] = Array.from({ length: depth }, () => ({
    offset: driver.pages(1),
    length: 2048,
    write: true,
  }));
  const sources = Array.from({ length: depth }, () => driver.frame(new Uint8Array(bytes)));
  const name = `${bytes} B, bursts of ${depth}${features.length > 0 ? ', event index' : ''}`;
  measure(name, memory, depth, () => {
    for (const part of targets) rx.add([part]);
    for (const part of sources) tx.add([part]);
    driver.notifications.setUint16(4, 1, true);
    const us = timed(() => {
      while (driver.device.poll());
    });
    const packets = rx.takeAll().length;
    tx.takeAll();
    return { us, packets };
  });
}

/** The same of an igb, whose tail is written once for a burst. */
function igbByItself(bytes: number, depth: number): void {
  const driver = new IgbDriver({}, { pages: 1024 }).start(STRIP_CRC);
  const { memory } = driver.program;
  const at = driver.program.iova(driver.place(plainFrame(bytes)));
  measure(`${bytes} B, bursts of ${depth}`, memory, depth, () => {
    for (let index = 0; index < depth; index++)
      driver.describe([at, 0, (SEND + (index === depth - 1 ? REPORT : 0) + bytes) >>> 0, 0]);
    const us = timed(() => {
      driver.ring();
      while (driver.card.poll());
    });
    return { us, packets: driver.receive().length };
  });
}

function timed(run: () => void): number {
  const began = process.hrtime.bigint();
  run();
  return Number(process.hrtime.bigint() - began) / 1000;
}

/** Rounds of a burst, after as many that only warm up: what a packet takes, in time and copies. */
function measure(
  name: string,
  memory: Program['memory'],
  depth: number,
  burst: () => { us: number; packets: number },
): void {
  for (let warm = 0; warm < ROUNDS; warm++) burst();
  let segments = 0;
  memory.beforeCopy = (list: SegmentList) => {
    segments += list.count;
  };
  const times: number[] = [];
  let moved = 0;
  const calls = memory.calls;
  for (let count = 0; count < ROUNDS; count++) {
    const { us, packets } = burst();
    times.push(us);
    moved += packets;
  }
  if (moved !== ROUNDS * depth) throw new Error(`${moved} packets of ${ROUNDS * depth}`);
  report(name, median(times) / depth, memory.calls - calls, segments, moved);
}

function report(name: string, us: number, calls: number, segments: number, moved: number): void {
  const [callsEach, segmentsEach] = [calls / moved, segments / moved];
  const withCalls = us + callsEach * CALL_US + segmentsEach * SEGMENT_US;
  console.log(
    `  ${name.padEnd(32)} ${us.toFixed(3)} µs   ${callsEach.toFixed(2)} calls   ${segmentsEach.toFixed(2)} segments   ` +
      `${Math.round(1000 / withCalls)} k packets/s with calls`,
  );
}

/** Packets per second of one run of packet-loop. */
export function packetsPerSecond(mode: string, bytes: number, how: string): number {
  const iopf = join(repository, 'dist/bundle/iopf.cjs');
  const client = join(repository, 'dist/examples/packet-loop/main.js');
  const options = ['--quiet', '--iopf', mode, '--device', `virtio-net@${NET}`];
  const { stdout, status, stderr } = spawnSync(
    process.execPath,
    [iopf, 'exec', ...options, '--', process.execPath, client, NET, `${PACKETS}`, `${bytes}`, how],
    { encoding: 'utf8' },
  );
  const rate = /(\d+) packets\/s/.exec(stdout)?.[1];
  if (status !== 0 || rate === undefined) throw new Error(`packet-loop: ${stdout}${stderr}`);
  return Number(rate);
}

export function benchNet(rounds: number): void {
  console.log(
    `\nvirtio-net looped back, the card by itself (headers of ${HEADER_BYTES} bytes besides)`,
  );
  for (const bytes of [64, 1500]) cardByItself(bytes, 64, []);
  cardByItself(64, 64, [Feature.EVENT_IDX]);
  cardByItself(64, 1, []);
  console.log('\nigb looped back, the card by itself');
  for (const bytes of [64, 1500]) igbByItself(bytes, 48);
  igbByItself(64, 1);
  console.log(
    `\npacket-loop on virtio-net, free placement, median of ${rounds} × ${PACKETS} packets`,
  );
  for (const [bytes, how] of [
    [64, 'map'],
    [64, 'call'],
    [1500, 'map'],
  ] as const) {
    const auto: number[] = [];
    const off: number[] = [];
    for (let round = 0; round < rounds; round++) {
      auto.push(packetsPerSecond('auto', bytes, how));
      off.push(packetsPerSecond('off', bytes, how));
    }
    const [withFaults, pinned] = [median(auto), median(off)];
    const name = `${bytes} B, ${how === 'map' ? 'mapped notifications' : 'a call for each burst'}`;
    console.log(
      `  ${name.padEnd(32)} IOPF ${withFaults} packets/s   pinned ${pinned} packets/s   ${(withFaults / pinned).toFixed(2)}×`,
    );
  }
}
