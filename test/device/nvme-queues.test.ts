/** Many queues: whose turn it is, and what becomes of commands whose queue goes away. */
import { describe, expect, it } from 'vitest';
import { Register } from '../../src/device/nvme/registers.js';
import { type CommandFields, type Completion, NvmeDriver, type QueuePair } from './nvme-driver.js';
import { command } from './program.js';

const [FLUSH, READ] = [0, 2];
const [DELETE_SQ, DELETE_CQ, CREATE_SQ, ABORT, ASYNC_EVENT_REQUEST] = [0, 4, 1, 8, 0x0c];

function enabled(queues: number, entries = 16) {
  const driver = new NvmeDriver();
  driver.enable();
  const made = [...Array(queues).keys()].map((index) =>
    driver.createQueue(index + 1, entries, index + 1),
  );
  return { driver, admin: driver.admin, queues: made };
}

/** Rings through the mapped BAR, so that only the next poll sees it. */
function ringMapped(queue: QueuePair): void {
  const bar = queue.driver.program.regions.get(0)!.bytes;
  new Uint32Array(bar.buffer, Register.DOORBELLS)[2 * queue.id] = queue.tail;
}

/** Does an admin command whose doorbell the same poll finds as those rung before. */
function runMapped(admin: QueuePair, fields: CommandFields): Completion | null {
  admin.push(fields);
  ringMapped(admin);
  admin.driver.device.poll();
  return admin.take();
}

/** Takes what is there and says so through the mapped BAR; returns how many there were. */
function takeMapped(queue: QueuePair): number {
  let count = 0;
  while (queue.take(false)) count++;
  const bar = queue.driver.program.regions.get(0)!.bytes;
  new Uint32Array(bar.buffer, Register.DOORBELLS)[2 * queue.id + 1] = queue.head;
  return count;
}

function flushes(queue: QueuePair, count: number): number[] {
  return [...Array(count)].map(() => queue.push({ opcode: FLUSH, namespace: 1 }));
}

describe('a submission queue that is deleted with commands waiting', () => {
  it('they are told so before the deletion is, and are not done', () => {
    const { driver, admin, queues } = enabled(1);
    const queue = queues[0]!;
    const target = driver.pages(1);
    driver.bytes(target, 512).fill(0xcd);
    const read = { opcode: READ, namespace: 1, ...driver.prp(target, 512) };
    const waiting = [queue.push(read), queue.push(read), queue.push(read)];
    ringMapped(queue);
    const order: number[] = [];
    driver.program.memory.beforeCopy = (list, write) => {
      if (write)
        for (let index = 0; index < list.count; index++) order.push(list.frame[index]! * 4096);
    };
    expect(runMapped(admin, { opcode: DELETE_SQ, dw10: 1 })?.status).toBe(0);
    // The deletion's result goes ahead of the half with its phase.
    expect(order).toEqual([queue.completion, admin.completion, admin.completion]);
    const told = queue.takeAll();
    expect(told.map(({ identifier }) => identifier)).toEqual(waiting);
    expect(told.every(({ status, retryable }) => status === 0x08 && retryable)).toBe(true);
    expect(told[2]!.head).toBe(3);
    expect(driver.bytes(target, 512).every((byte) => byte === 0xcd)).toBe(true);
    expect(driver.device.poll()).toBe(false);
  });

  it('their completion raises the interrupt of their queue', () => {
    const { driver, admin, queues } = enabled(2);
    driver.device.interruptsEnabled(2, 3);
    flushes(queues[1]!, 2);
    ringMapped(queues[1]!);
    driver.program.sink.take();
    runMapped(admin, { opcode: DELETE_SQ, dw10: 2 });
    expect(driver.program.sink.take()).toEqual(['msix 2', 'msix 0']);
  });

  it('more of them than a batch holds are told as well, across the end of the queue', () => {
    const { admin, queues } = enabled(1, 200);
    const queue = queues[0]!;
    flushes(queue, 150);
    queue.ring();
    expect(queue.takeAll()).toHaveLength(150);
    const waiting = flushes(queue, 190);
    ringMapped(queue);
    runMapped(admin, { opcode: DELETE_SQ, dw10: 1 });
    const told = queue.takeAll();
    expect(told.map(({ identifier }) => identifier)).toEqual(waiting);
    expect(new Set(told.map(({ status }) => status))).toEqual(new Set([0x08]));
  });

  it('those for whom there is no room are gone without a word, and none comes later', () => {
    const { driver, admin, queues } = enabled(1, 8);
    const queue = queues[0]!;
    flushes(queue, 5);
    queue.ring();
    const done = [...Array(5)].map(() => queue.take(false));
    expect(done.every((completion) => completion?.status === 0)).toBe(true);
    const waiting = flushes(queue, 6);
    ringMapped(queue);
    // Five of seven places hold completions that the host has not said it has seen.
    expect(runMapped(admin, { opcode: DELETE_SQ, dw10: 1 })?.status).toBe(0);
    const told = [queue.take(false), queue.take(false), queue.take(false)];
    expect(told.map((completion) => completion?.identifier)).toEqual([
      waiting[0],
      waiting[1],
      undefined,
    ]);
    queue.acknowledge();
    driver.device.poll();
    expect(queue.take(false)).toBeNull();
    expect(admin.run({ opcode: DELETE_CQ, dw10: 1 }).status).toBe(0);
  });

  it('a queue whose memory is gone can be deleted all the same', () => {
    const { driver, admin, queues } = enabled(1);
    const queue = queues[0]!;
    flushes(queue, 3);
    ringMapped(queue);
    driver.program.unmapFrame(queue.submission / 4096);
    expect(runMapped(admin, { opcode: DELETE_SQ, dw10: 1 })?.status).toBe(0);
    expect(queue.take()).toBeNull();
    expect(driver.read(Register.CSTS)).toBe(1);
  });

  it('a completion queue whose memory is gone is a fatal status', () => {
    const { driver, admin, queues } = enabled(1);
    flushes(queues[0]!, 3);
    ringMapped(queues[0]!);
    driver.program.unmapFrame(queues[0]!.completion / 4096);
    admin.push({ opcode: DELETE_SQ, dw10: 1 });
    ringMapped(admin);
    driver.device.poll();
    expect(driver.read(Register.CSTS)).toBe(3);
    expect(admin.take()).toBeNull();
  });

  it('it does not count as an error', () => {
    const { driver, admin, queues } = enabled(1);
    flushes(queues[0]!, 3);
    ringMapped(queues[0]!);
    runMapped(admin, { opcode: DELETE_SQ, dw10: 1 });
    const log = driver.pages(1);
    admin.run({ opcode: 2, prp1: driver.iova(log), dw10: 2 | (127 << 16) });
    expect(driver.view.getUint32(log + 176, true)).toBe(0);
  });

  it('the other queue that completes into the same completion queue goes on', () => {
    const { driver, admin, queues } = enabled(1);
    const queue = queues[0]!;
    const second = driver.pages(1);
    const made = { prp1: driver.iova(second), dw10: 2 | (15 << 16), dw11: 1 | (1 << 16) };
    expect(admin.run({ opcode: CREATE_SQ, ...made }).status).toBe(0);
    const [first] = flushes(queue, 1);
    ringMapped(queue);
    runMapped(admin, { opcode: DELETE_SQ, dw10: 1 });
    driver.view.setUint32(second, FLUSH | (900 << 16), true);
    driver.view.setUint32(second + 4, 1, true);
    driver.write(Register.DOORBELLS + 16, 1);
    expect(queue.takeAll().map((one) => [one.queue, one.identifier, one.status])).toEqual([
      [1, first, 0x08],
      [2, 900, 0],
    ]);
    expect(admin.run({ opcode: DELETE_CQ, dw10: 1 }).status).toBe(0x10c);
  });
});

describe('Abort', () => {
  it('says that it did not abort a command that waits for room, and the command is done later', () => {
    const { admin, queues } = enabled(1, 4);
    const queue = queues[0]!;
    flushes(queue, 3);
    queue.ring();
    for (let count = 0; count < 3; count++) queue.take(false);
    const [waiting] = flushes(queue, 1);
    ringMapped(queue);
    expect(admin.run({ opcode: ABORT, dw10: 1 | (waiting! << 16) })).toMatchObject({
      status: 0,
      result: 1,
    });
    queue.acknowledge();
    expect(queue.take()).toMatchObject({ identifier: waiting, status: 0 });
  });
});

describe('whose turn it is', () => {
  const LENGTH = 512 * 1024;

  /** Lets queues wait with `count` reads of 512 KiB each. */
  function loaded(queueCount: number, count: number) {
    const { driver, queues, admin } = enabled(queueCount, 128);
    const prp = driver.prp(driver.pages(128), LENGTH);
    for (const queue of queues) {
      for (let index = 0; index < count; index++)
        queue.push({ opcode: READ, namespace: 1, ...prp, dw12: 1023 });
      ringMapped(queue);
    }
    return { driver, queues, admin };
  }

  it('queues with much to do are served in turns, the next look going on where the last one stopped', () => {
    const { driver, queues } = loaded(4, 60);
    const served = queues.map(() => 0);
    const firstServed: number[] = [];
    for (let look = 0; look < 4; look++) {
      expect(driver.device.poll()).toBe(true);
      for (const [index, queue] of queues.entries()) {
        const count = takeMapped(queue);
        if (count > 0 && served[index] === 0) firstServed.push(index);
        served[index]! += count;
      }
    }
    // One look moves about 16 MiB: a batch of one queue.
    expect(firstServed).toEqual([0, 1, 2, 3].map((step) => (firstServed[0]! + step) % 4));
    expect(Math.max(...served) - Math.min(...served)).toBeLessThanOrEqual(1);
    while (driver.device.poll())
      for (const [index, queue] of queues.entries()) served[index]! += takeMapped(queue);
    expect(served).toEqual([60, 60, 60, 60]);
  });

  it('one look moves no more than a batch beyond its share, however much waits', () => {
    const { driver } = loaded(8, 60);
    const before = driver.program.iommu.counters.dmaBytesWritten;
    driver.device.poll();
    const moved = driver.program.iommu.counters.dmaBytesWritten - before;
    expect(moved).toBeGreaterThan(8 * 2 ** 20);
    expect(moved).toBeLessThan(32 * 2 ** 20);
  });

  it('the admin queue comes first: a deletion finds the commands that would have been next', () => {
    const { driver, queues, admin } = loaded(2, 20);
    admin.push({ opcode: DELETE_SQ, dw10: 2 });
    ringMapped(admin);
    driver.device.poll();
    expect(new Set(queues[1]!.takeAll().map(({ status }) => status))).toEqual(new Set([0x08]));
    expect(queues[0]!.takeAll().map(({ status }) => status)).toEqual(new Array(20).fill(0));
    expect(driver.device.poll()).toBe(false);
  });

  it('a queue deleted in the middle of the round does not cost another its turn', () => {
    const { driver, queues, admin } = enabled(3);
    for (let round = 0; round < 5; round++) {
      for (const queue of [queues[0]!, queues[2]!]) {
        flushes(queue, 2);
        ringMapped(queue);
      }
      driver.device.poll();
      if (round === 0) runMapped(admin, { opcode: DELETE_SQ, dw10: 2 });
      expect([queues[0]!, queues[2]!].map(takeMapped)).toEqual([2, 2]);
    }
  });
});

describe('a controller reset under load', () => {
  it('on every queue nothing comes after it, neither data nor completions nor events', () => {
    const { driver, admin, queues } = enabled(8);
    const target = driver.pages(1);
    driver.bytes(target, 512).fill(0xcd);
    admin.push({ opcode: ASYNC_EVENT_REQUEST });
    admin.ring();
    for (const queue of queues) {
      queue.push({ opcode: READ, namespace: 1, ...driver.prp(target, 512) });
      ringMapped(queue);
    }
    // Through the mapped CC, in one breath with the doorbells: the reset is seen first.
    const bar = driver.program.regions.get(0)!.bytes;
    new Uint32Array(bar.buffer)[Register.CC / 4] = 0x00460000;
    driver.device.poll();
    expect(driver.read(Register.CSTS)).toBe(0);
    expect(queues.map((queue) => queue.take())).toEqual(new Array(8).fill(null));
    expect(driver.bytes(target, 1)[0]).toBe(0xcd);
    driver.enable();
    expect(driver.device.poll()).toBe(false);
    const queue = driver.createQueue(1, 16);
    command(driver.device, 6);
    expect(queue.run({ opcode: READ, namespace: 1, ...driver.prp(target, 512) }).status).toBe(0);
    expect(driver.bytes(target, 1)[0]).toBe(0);
  });
});
