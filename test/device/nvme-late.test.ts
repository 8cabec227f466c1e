/** Completions that come late, out of order or twice, on purpose. */
import { describe, expect, it } from 'vitest';
import { CommandFault } from '../../src/device/faults.js';
import { type Completion, NvmeDriver, type QueuePair, setLong } from './nvme-driver.js';

const READ = 2;
const BLOCK = 512;

interface Bench {
  readonly driver: NvmeDriver;
  readonly queue: QueuePair;
  /** By the number of the I/O command, from 1. */
  readonly faults: Map<number, number>;
  readonly clock: { now: number; late: number };
  read(count: number): number[];
  poll(): Completion[];
}

function bench(): Bench {
  const faults = new Map<number, number>();
  const clock = { now: 0, late: 0 };
  let seen = 0;
  const driver = new NvmeDriver(
    {},
    {
      commands: {
        command: (queue) => (queue === 0 ? CommandFault.NONE : (faults.get(++seen) ?? 0)),
        get lateMs() {
          return clock.late;
        },
        nowMs: () => clock.now,
      },
    },
  );
  driver.enable();
  const queue = driver.createQueue(1, 16);
  const buffer = driver.pages(1);
  return {
    driver,
    queue,
    faults,
    clock,
    read: (count) =>
      [...Array(count).keys()].map((block) =>
        queue.push({
          opcode: READ,
          namespace: 1,
          prp1: driver.iova(buffer + block * BLOCK),
          dw10: block,
        }),
      ),
    poll: () => {
      while (driver.device.poll());
      return queue.takeAll();
    },
  };
}

const identifiers = (all: readonly Completion[]): number[] =>
  all.map(({ identifier }) => identifier);

describe('the completion of a command', () => {
  it('that is late comes once its time is over, with its data and its status', () => {
    const { clock, faults, poll, queue, read } = bench();
    faults.set(1, CommandFault.LATE);
    clock.late = 100;
    const [first, second, third] = read(3);
    queue.ring();
    expect(identifiers(poll())).toEqual([second, third]);
    clock.now = 99;
    expect(poll()).toEqual([]);
    clock.now = 100;
    expect(poll()).toMatchObject([{ identifier: first, status: 0, queue: 1 }]);
    expect(poll()).toEqual([]);
  });

  it('that is late finds room where there is room for one', () => {
    const { clock, driver, faults, poll } = bench();
    const small = driver.createQueue(2, 2);
    faults.set(1, CommandFault.LATE);
    clock.late = 100;
    const prp1 = driver.iova(driver.pages(1));
    const identifier = small.push({ opcode: READ, namespace: 1, prp1 });
    small.ring();
    poll();
    clock.now = 100;
    poll();
    expect(small.take()).toMatchObject({ identifier, status: 0 });
  });

  it('of a command that is to have faults has its result, with and without one', () => {
    const COPY = 0x19;
    const { driver, faults, poll, queue } = bench();
    const ranges = driver.pages(1);
    // The second range lies behind the disk: its number is the result.
    setLong(driver.view, ranges + 32 + 8, 2 ** 40);
    faults.set(2, CommandFault.TWICE);
    for (const results of [[1], [1, 1]]) {
      queue.push({ opcode: COPY, namespace: 1, prp1: driver.iova(ranges), dw10: 0, dw12: 1 });
      queue.ring();
      expect(poll().map(({ result }) => result)).toEqual(results);
    }
  });

  it('that is out of order comes behind those of its batch', () => {
    const { faults, poll, queue, read } = bench();
    faults.set(2, CommandFault.LATE);
    const [first, second, third, fourth] = read(4);
    queue.ring();
    expect(identifiers(poll())).toEqual([first, third, fourth, second]);
  });

  it('keeps an error of its data, which the others do not get', () => {
    const { driver, faults, poll, queue } = bench();
    faults.set(1, CommandFault.LATE);
    const bad = queue.push({ opcode: READ, namespace: 1, prp1: 0x7000_0000_0000 });
    const good = queue.push({ opcode: READ, namespace: 1, prp1: driver.iova(driver.pages(1)) });
    queue.ring();
    expect(poll()).toMatchObject([
      { identifier: good, status: 0 },
      { identifier: bad, status: 4 },
    ]);
  });

  it('comes twice, once there is room for it', () => {
    const { faults, poll, queue, read } = bench();
    faults.set(1, CommandFault.TWICE);
    const [first, second] = read(2);
    queue.ring();
    expect(identifiers(poll())).toEqual([first, second, first]);
    faults.set(3, CommandFault.TWICE);
    const all = read(15);
    queue.ring();
    // Taking the first makes room.
    expect(identifiers(poll())).toEqual([...all, all[0]]);
  });

  it('never comes after a reset of the controller', () => {
    const { clock, driver, faults, poll, queue, read } = bench();
    faults.set(1, CommandFault.LATE);
    clock.late = 5;
    read(1);
    queue.ring();
    expect(poll()).toEqual([]);
    driver.disable();
    driver.enable();
    const again = driver.createQueue(1, 16);
    clock.now = 10;
    while (driver.device.poll());
    expect(again.takeAll()).toEqual([]);
  });
});
