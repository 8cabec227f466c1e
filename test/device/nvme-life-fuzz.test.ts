/**
 * Queues that are made, deleted and reset while commands are on their way, memory that is refused,
 * and a model that knows what may come of it. Canaries: defects put into the controller, each of
 * which must be found.
 */
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Batch } from '../../src/device/nvme/batch.js';
import type { CompletionQueue } from '../../src/device/nvme/queue.js';
import { QueueTable } from '../../src/device/nvme/queue-table.js';
import { Register } from '../../src/device/nvme/registers.js';
import { Status } from '../../src/device/nvme/status.js';
import { NvmeDriver, QueuePair } from './nvme-driver.js';

const [WRITE, READ] = [1, 2];
const [DELETE_SQ, CREATE_SQ, DELETE_CQ, CREATE_CQ] = [0, 1, 4, 5];
const QUEUES = 3;
/** Commands that a queue has in flight at most; each has a block and a buffer of its own. */
const PLACES = 12;
const GUARD = 0xa5;
const RUNS = 300;

interface Flight {
  readonly write: boolean;
  readonly place: number;
  readonly value: number;
  readonly refused: boolean;
}

/** A queue pair of the program with what it knows of it. */
class Line {
  pair: QueuePair | null = null;
  readonly flights = new Map<number, Flight>();
  /** What each block may hold: one value, or two where nobody was told whether a write was done. */
  readonly blocks: Set<number>[] = [...Array(PLACES)].map(() => new Set([0]));
  next = 1;

  constructor(
    readonly id: number,
    /** Two pages for the queues, one for each place. */
    readonly memory: number,
  ) {}

  buffer(place: number): number {
    return this.memory + (2 + place) * 4096;
  }

  block(place: number): number {
    return this.id * PLACES + place;
  }

  freePlace(): number {
    const used = new Set([...this.flights.values()].map(({ place }) => place));
    return [...Array(PLACES).keys()].find((place) => !used.has(place)) ?? -1;
  }

  /** Nobody will be told any more: a write may have been done or not. */
  abandon(): void {
    for (const { write, place, value } of this.flights.values())
      if (write) this.blocks[place]!.add(value);
    this.flights.clear();
    this.pair = null;
  }
}

class Host {
  readonly driver = new NvmeDriver({ size: '1M' }, { pages: 128, faulting: true });
  readonly lines: Line[] = [];
  readonly guard: number;
  finished = 0;
  aborted = 0;
  failed = 0;
  #value = 1;
  /** Memory of queues and data that the device must leave alone until it is given to it again. */
  #quiet: { at: number; bytes: Uint8Array }[] = [];

  constructor() {
    const { driver } = this;
    driver.enable();
    for (let id = 1; id <= QUEUES; id++) this.lines.push(new Line(id, driver.pages(2 + PLACES)));
    this.guard = driver.pages(1);
    driver.bytes(this.guard, 4096).fill(GUARD);
    for (const line of this.lines) this.create(line, 8, 8);
  }

  create(line: Line, entries: number, completionEntries: number): void {
    if (line.pair) return;
    const { driver } = this;
    this.#quiet = this.#quiet.filter(({ at }) => at !== line.memory);
    driver.bytes(line.memory, 8192).fill(0);
    const completion = line.memory + 4096;
    const pair = new QueuePair(
      driver,
      line.id,
      entries,
      line.memory,
      completion,
      completionEntries,
    );
    const size = (count: number): number => line.id | ((count - 1) << 16);
    const [completions, commands] = [
      { dw10: size(completionEntries), dw11: 1 },
      { dw10: size(entries) },
    ];
    this.#admin({ opcode: CREATE_CQ, prp1: driver.iova(completion), ...completions });
    this.#admin({
      opcode: CREATE_SQ,
      prp1: driver.iova(line.memory),
      ...commands,
      dw11: 1 | (line.id << 16),
    });
    line.pair = pair;
  }

  push(line: Line, write: boolean, refused: boolean): void {
    const place = line.freePlace();
    if (!line.pair || place < 0 || line.flights.size >= line.pair.entries - 1) return;
    const { driver } = this;
    const value = this.#value++ % 250;
    const buffer = line.buffer(place);
    driver.bytes(buffer, 512).fill(write ? value : 0xff);
    const frame = buffer / 4096;
    if (refused) driver.program.refusedFrames.add(frame);
    else driver.program.refusedFrames.delete(frame);
    driver.program.unmapFrame(frame);
    const identifier = (line.next++ & 0x7f) | (line.id << 8);
    const fields = {
      opcode: write ? WRITE : READ,
      namespace: 1,
      identifier,
      dw10: line.block(place),
    };
    line.pair.push({ ...fields, prp1: driver.iova(buffer) });
    line.flights.set(identifier, { write, place, value, refused });
  }

  /** A queue that is gone is rung too: the device must not listen. */
  ring({ id, pair }: Line, mapped: boolean): void {
    if (!pair) this.#doorbells[2 * id] = 1;
    else if (mapped) this.#doorbells[2 * id] = pair.tail;
    else pair.ring();
  }

  /** Takes completions; `sayso`: whether the device hears of it. */
  take(line: Line, sayso: boolean, inDeletion = false): void {
    if (!line.pair) return;
    for (let one = line.pair.take(false); one; one = line.pair.take(false)) {
      const flight = line.flights.get(one.identifier);
      expect(
        flight,
        `queue ${line.id} completes ${one.identifier}, which is not in flight`,
      ).toBeDefined();
      line.flights.delete(one.identifier);
      this.#judge(line, flight!, one.status, inDeletion);
    }
    if (sayso) this.#doorbells[2 * line.id + 1] = line.pair.head;
  }

  /** `full`: with what waits in it just rung for. */
  deleteQueue(line: Line, full: boolean): void {
    if (!line.pair) return;
    if (full) this.ring(line, true);
    this.#admin({ opcode: DELETE_SQ, dw10: line.id });
    this.take(line, true, true);
    this.#admin({ opcode: DELETE_CQ, dw10: line.id });
    this.#giveUp(line);
  }

  reset(how: 'controller' | 'function'): void {
    for (const line of this.lines) this.take(line, false);
    if (how === 'controller') this.#registers[Register.CC / 4] = 0x00460000;
    else this.driver.device.reset();
    this.driver.device.poll();
    expect(this.driver.read(Register.CSTS)).toBe(0);
    // What was completed before the reset was seen still counts.
    for (const line of this.lines) this.take(line, false);
    for (const line of this.lines) this.#giveUp(line);
    if (how === 'function') this.driver.device.writeRegion(7, 4, Uint8Array.of(6, 0));
    const { admin } = this.driver;
    this.driver.bytes(admin.completion, 4096).fill(0);
    admin.tail = admin.head = 0;
    admin.phase = 1;
    this.driver.write(Register.AQA, 0x001f001f);
    this.driver.write(Register.ASQ, this.driver.iova(admin.submission));
    this.driver.write(Register.ACQ, this.driver.iova(admin.completion));
    this.driver.write(Register.CC, 0x00460001);
    expect(this.driver.read(Register.CSTS)).toBe(1);
  }

  /** What must hold at any time. */
  check(): void {
    expect(this.driver.bytes(this.guard, 4096).every((byte) => byte === GUARD)).toBe(true);
    expect(this.#registers[Register.CSTS / 4]).toBe(1);
    for (const { at, bytes } of this.#quiet) {
      expect(
        Buffer.compare(this.driver.bytes(at, bytes.length), bytes),
        'memory of a queue that is gone',
      ).toBe(0);
    }
  }

  /** Everything that was rung is completed. */
  drain(): void {
    for (const line of this.lines) this.ring(line, true);
    for (let look = 0; look < 20; look++) {
      this.driver.device.poll();
      for (const line of this.lines) this.take(line, true);
    }
    expect(this.lines.map(({ flights }) => flights.size)).toEqual(new Array(QUEUES).fill(0));
  }

  #judge(
    line: Line,
    { write, place, value, refused }: Flight,
    status: number,
    inDeletion: boolean,
  ): void {
    const held = line.blocks[place]!;
    if (status === Status.ABORTED_SQ_DELETION && inDeletion) {
      this.aborted++;
      return;
    }
    expect(status).toBe(refused ? Status.DATA_TRANSFER_ERROR : Status.SUCCESS);
    if (refused) {
      this.failed++;
      return;
    }
    this.finished++;
    if (write) {
      line.blocks[place] = new Set([value]);
      return;
    }
    const read = this.driver.bytes(line.buffer(place), 512);
    expect([...held]).toContain(read[0]);
    expect(read.every((byte) => byte === read[0])).toBe(true);
    line.blocks[place] = new Set([read[0]!]);
  }

  #giveUp(line: Line): void {
    if (!line.pair) return;
    line.abandon();
    const bytes = this.driver.bytes(line.memory, (2 + PLACES) * 4096).slice();
    this.#quiet.push({ at: line.memory, bytes });
  }

  /** Rung in the mapped BAR, so that the same poll finds it beside what waits in other queues. */
  #admin(fields: Parameters<QueuePair['run']>[0]): void {
    const { admin, device } = this.driver;
    admin.push(fields);
    this.#doorbells[0] = admin.tail;
    device.poll();
    expect(admin.take()?.status).toBe(0);
  }

  get #registers(): Uint32Array {
    return new Uint32Array(this.driver.program.regions.get(0)!.bytes.buffer);
  }

  get #doorbells(): Uint32Array {
    return this.#registers.subarray(Register.DOORBELLS / 4);
  }
}

const action = fc.record({
  kind: fc.oneof(
    { weight: 8, arbitrary: fc.constant('push' as const) },
    { weight: 4, arbitrary: fc.constant('ring' as const) },
    { weight: 4, arbitrary: fc.constant('take' as const) },
    { weight: 3, arbitrary: fc.constant('poll' as const) },
    { weight: 2, arbitrary: fc.constant('delete' as const) },
    { weight: 2, arbitrary: fc.constant('create' as const) },
    { weight: 1, arbitrary: fc.constantFrom('controller' as const, 'function' as const) },
  ),
  line: fc.nat(QUEUES - 1),
  count: fc.integer({ min: 1, max: 6 }),
  flag: fc.boolean(),
  refused: fc.nat(9).map((one) => one === 0),
});

function lives(runs: number) {
  const seen = { finished: 0, aborted: 0, failed: 0 };
  const property = fc.property(fc.array(action, { minLength: 5, maxLength: 80 }), (actions) => {
    const host = new Host();
    for (const { kind, line: index, count, flag, refused } of actions) {
      const line = host.lines[index]!;
      if (kind === 'push') for (let one = 0; one < count; one++) host.push(line, flag, refused);
      else if (kind === 'ring') host.ring(line, flag);
      else if (kind === 'take') host.take(line, flag);
      else if (kind === 'poll') host.driver.device.poll();
      else if (kind === 'delete') host.deleteQueue(line, flag);
      else if (kind === 'create') host.create(line, 4 + count, flag ? 2 + (count % 3) : 4 + count);
      else host.reset(kind);
      host.check();
    }
    for (const line of host.lines) host.create(line, 8, 8);
    host.drain();
    host.check();
    seen.finished += host.finished;
    seen.aborted += host.aborted;
    seen.failed += host.failed;
  });
  return { result: fc.check(property, { numRuns: runs, seed: 20240601 }), seen };
}

describe('queues that come and go under load', () => {
  afterEach(() => vi.restoreAllMocks());

  it('every command is completed once, with the right data, or its queue is gone and it is never heard of again', () => {
    const { result, seen } = lives(RUNS);
    if (result.failed) throw result.errorInstance;
    expect(seen.finished).toBeGreaterThan(1000);
    expect(seen.aborted).toBeGreaterThan(100);
    expect(seen.failed).toBeGreaterThan(100);
  });

  const canaries: [string, () => void][] = [
    [
      'a deleted queue whose commands go on',
      () => {
        const original = QueueTable.prototype.deleteSubmission;
        vi.spyOn(QueueTable.prototype, 'deleteSubmission').mockImplementation(function (
          this: QueueTable,
          id,
        ) {
          const before = this.io;
          const status = original.call(this, id);
          this.io = before;
          this.deleted = null;
          return status;
        });
      },
    ],
    [
      'queues that outlive a reset',
      () => {
        const original = QueueTable.prototype.clear;
        vi.spyOn(QueueTable.prototype, 'clear').mockImplementation(function (this: QueueTable) {
          const before = this.io;
          original.call(this);
          this.io = before;
        });
      },
    ],
    [
      'a full completion queue that is written over',
      () => {
        vi.spyOn(QueueTable.prototype, 'takeHead').mockImplementation((queue: CompletionQueue) => {
          queue.head = queue.tail;
          return true;
        });
      },
    ],
    [
      'refused data that is called success',
      () => {
        vi.spyOn(Batch.prototype, 'fail').mockImplementation(() => {});
      },
    ],
    [
      'aborted commands that are completed twice',
      () => {
        const original = Batch.prototype.complete;
        vi.spyOn(Batch.prototype, 'complete').mockImplementation(function (this: Batch, ...all) {
          original.apply(this, all);
          if (all[3] === Status.ABORTED_SQ_DELETION) original.apply(this, all);
        });
      },
    ],
  ];
  it.each(canaries)('finds %s', (_what, plant) => {
    plant();
    expect(lives(RUNS).result.failed).toBe(true);
  });
});
