/**
 * Takes queues away from an NVMe controller that is working, and looks for what should not have
 * happened.
 *
 * Usage: nvme-life MODE BDF [BDF2]. `delete` deletes queues with commands in them; `controller` and
 * `function` reset with all queues working; `pair` keeps two controllers busy; `canary` is
 * `controller` with a program that does to its own memory what a device should not. Prints JSON:
 * what was counted, and `wrong` and `late`, which must be 0.
 */

import { VfioClient } from '../../../examples/dma-copy/vfio.js';
import { NvmePollDriver, type QueuePair } from '../../../examples/nvme-poll/driver.js';
import { AdminOpcode, IoOpcode } from '../../../src/device/nvme/command.js';
import { Status } from '../../../src/device/nvme/status.js';

const QUEUES = 3;
const DEPTH = 1000;
const ENTRIES = DEPTH + 1;
const BLOCK = 512;
const LIST_BYTES = DEPTH * BLOCK;
const ROUNDS = 6;
/** Looks at memory that should stay as it is. */
const WATCH_MS = 20;
/** Commands that both controllers of a pair do together. */
const PAIR_COMMANDS = 40_000;

const counts = { finished: 0, aborted: 0, unheard: 0, wrong: 0, late: 0 };

/** A queue whose slot s works on a block and a buffer of its own. */
class Line {
  readonly submission: number;
  readonly completion: number;
  readonly buffers: number;
  queue: QueuePair;
  /** What each block may hold. */
  private readonly held: number[][] = [...Array(DEPTH)].map(() => [0]);
  /** What is written in each slot; 0: it is read. */
  private readonly writing = new Int32Array(DEPTH);
  private readonly busy = new Uint8Array(DEPTH);
  private value = 0;

  constructor(
    private readonly driver: NvmePollDriver,
    private readonly id: number,
  ) {
    this.submission = driver.allocate(ENTRIES * 64);
    this.completion = driver.allocate(ENTRIES * 16);
    this.buffers = driver.allocate(LIST_BYTES);
    this.queue = this.create();
  }

  create(): QueuePair {
    this.queue = this.driver.createQueue(this.id, ENTRIES, this.submission, this.completion);
    return this.queue;
  }

  /** Rings for as many commands as the queue holds: every third reads. */
  fill(): void {
    for (let slot = 0; slot < DEPTH; slot++)
      if (this.busy[slot] === 0) this.submit(slot, slot % 3 === 0);
    this.queue.ring();
  }

  submit(slot: number, read: boolean): void {
    this.value = (this.value % 250) + 1;
    this.writing[slot] = read ? 0 : this.value;
    this.busy[slot] = 1;
    this.buffer(slot).fill(read ? 0xff : this.value);
    const prp = this.driver.iova(this.buffers + slot * BLOCK);
    this.queue.push(
      read ? IoOpcode.READ : IoOpcode.WRITE,
      slot,
      1,
      prp,
      0,
      this.id * DEPTH + slot,
      0,
      0,
    );
  }

  take(): number {
    let taken = 0;
    for (let slot = this.queue.take(); slot >= 0; slot = this.queue.take()) {
      this.judge(slot, this.queue.status);
      taken++;
    }
    if (taken > 0) this.queue.acknowledge();
    return taken;
  }

  /** Until nothing is in flight. */
  drain(): void {
    while (this.busy.includes(1)) this.take();
  }

  /** Nobody will hear of what is in flight. */
  abandon(): void {
    for (let slot = 0; slot < DEPTH; slot++) {
      if (this.busy[slot] === 0) continue;
      counts.unheard++;
      if (this.writing[slot]! > 0) this.held[slot]!.push(this.writing[slot]!);
    }
    this.busy.fill(0);
  }

  private judge(slot: number, status: number): void {
    if (this.busy[slot] !== 1) counts.wrong++;
    this.busy[slot] = 0;
    if (status === Status.ABORTED_SQ_DELETION) {
      counts.aborted++;
      return;
    }
    if (status !== Status.SUCCESS) counts.wrong++;
    counts.finished++;
    const written = this.writing[slot]!;
    if (written === 0 && !this.held[slot]!.includes(this.buffer(slot)[BLOCK - 1]!)) counts.wrong++;
    this.held[slot] = [written > 0 ? written : this.buffer(slot)[0]!];
  }

  private buffer(slot: number): Uint8Array {
    return this.driver.bytes(this.buffers + slot * BLOCK, BLOCK);
  }
}

/**
 * Counts a byte that changes in memory which no queue has any more; `disturb` is done in the
 * middle.
 */
function watch(driver: NvmePollDriver, lines: Line[], disturb?: () => void): void {
  const parts = lines.flatMap(({ completion, buffers }) => [
    driver.bytes(completion, ENTRIES * 16),
    driver.bytes(buffers, LIST_BYTES),
  ]);
  const before = parts.map((part) => part.slice());
  for (const end = performance.now() + WATCH_MS; performance.now() < end; );
  disturb?.();
  for (const [index, part] of parts.entries())
    if (Buffer.compare(part, before[index]!) !== 0) counts.late++;
}

function start(address: string, queues: number): { driver: NvmePollDriver; lines: Line[] } {
  const driver = new NvmePollDriver(new VfioClient(address), (queues + 1) * 2 ** 20);
  return { driver, lines: [...Array(queues).keys()].map((index) => new Line(driver, index + 1)) };
}

function deleteUnderLoad(address: string): void {
  const { driver, lines } = start(address, QUEUES);
  for (let round = 0; round < ROUNDS; round++) {
    for (const line of lines) line.fill();
    const gone = lines[round % QUEUES]!;
    driver.command(AdminOpcode.DELETE_SQ, { dw10: gone.queue.id });
    gone.take();
    gone.abandon();
    watch(driver, [gone]);
    driver.command(AdminOpcode.DELETE_CQ, { dw10: gone.queue.id });
    for (const line of lines) if (line !== gone) line.drain();
    gone.create();
  }
  for (const line of lines) {
    line.fill();
    line.drain();
  }
}

function resetUnderLoad(
  address: string,
  reset: (driver: NvmePollDriver) => void,
  canary: boolean,
): void {
  const { driver, lines } = start(address, QUEUES);
  for (let round = 0; round < ROUNDS; round++) {
    for (const line of lines) line.fill();
    for (let looks = 0; looks < round * 20; looks++) for (const line of lines) line.take();
    reset(driver);
    for (const line of lines) line.take();
    for (const line of lines) line.abandon();
    const disturb =
      canary && round === 1 ? () => driver.bytes(lines[0]!.completion, 1).fill(0x7e) : undefined;
    watch(driver, lines, disturb);
    driver.enable();
    for (const line of lines) line.create();
  }
  for (const line of lines) {
    line.fill();
    line.drain();
  }
}

/** Completions of each of two controllers that always have as much to do. */
function pair(addresses: string[]): number[] {
  const lines = addresses.map((address) => start(address, 1).lines[0]!);
  const done = lines.map(() => 0);
  for (const line of lines) line.fill();
  while (done[0]! + done[1]! < PAIR_COMMANDS) {
    for (const [index, line] of lines.entries()) {
      done[index]! += line.take();
      line.fill();
    }
  }
  for (const line of lines) line.drain();
  return done;
}

const [mode = '', ...addresses] = process.argv.slice(2);
const first = addresses[0]!;
let shares: number[] | undefined;
if (mode === 'delete') deleteUnderLoad(first);
else if (mode === 'function') resetUnderLoad(first, (driver) => driver.resetFunction(), false);
else if (mode === 'pair') shares = pair(addresses);
else resetUnderLoad(first, (driver) => driver.disable(), mode === 'canary');
console.log(JSON.stringify({ ...counts, shares }));
