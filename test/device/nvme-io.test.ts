import { describe, expect, it } from 'vitest';
import { Register } from '../../src/device/nvme/registers.js';
import { PAGE_SIZE } from '../../src/mm/address-space.js';
import { NvmeDriver, pseudoRandom, setLong } from './nvme-driver.js';
import { command, IOVA_BASE_PAGE } from './program.js';

const READ = 2;
const WRITE = 1;

function started(options: Record<string, string> = {}, entries = 64) {
  const driver = new NvmeDriver(options);
  driver.enable();
  const queue = driver.createQueue(1, entries);
  return { driver, queue };
}

describe('reads and writes', () => {
  // Lengths and places in a page: within one page, over two, and with lists of every kind.
  const shapes = [
    { offset: 0, bytes: 512, listOffset: 0 },
    { offset: 4, bytes: 4096, listOffset: 0 },
    { offset: 0, bytes: 8192, listOffset: 0 },
    { offset: 512, bytes: 8192, listOffset: 0 },
    { offset: 1024, bytes: 128 * 1024, listOffset: 0 },
    { offset: 0, bytes: 512 * 1024, listOffset: 8 },
    { offset: 4092, bytes: 512 * 1024, listOffset: 0 },
    { offset: 0, bytes: 512 * 1024, listOffset: 4096 - 8 },
    { offset: 2048, bytes: 64 * 1024, listOffset: 4096 - 24 },
  ];
  for (const { offset, bytes, listOffset } of shapes) {
    it(`${bytes} bytes from +${offset} with the list at +${listOffset} go to the disk and come back`, () => {
      const { driver, queue } = started();
      const source = driver.pages(130) + offset;
      const target = driver.pages(131) + offset;
      const data = pseudoRandom(bytes, bytes + offset);
      driver.bytes(source, bytes).set(data);
      const blocks = bytes / 512;
      const fields = { namespace: 1, dw10: 77, dw12: blocks - 1 };
      const written = queue.run({
        opcode: WRITE,
        ...driver.prp(source, bytes, listOffset),
        ...fields,
      });
      expect(written).toMatchObject({ status: 0, queue: 1 });
      const read = queue.run({ opcode: READ, ...driver.prp(target, bytes, listOffset), ...fields });
      expect(read.status).toBe(0);
      expect(Buffer.compare(driver.bytes(target, bytes), data)).toBe(0);
      // Nothing was written around it.
      expect(driver.view.getUint8(target + bytes)).toBe(0);
      expect(offset === 0 ? 0 : driver.view.getUint8(target - 1)).toBe(0);
    });
  }

  it('a block of 4096 bytes is the unit when the namespace is made so', () => {
    const { driver, queue } = started({ block: '4096', size: '1M' });
    const page = driver.pages(1);
    driver.bytes(page, 4096).fill(7);
    expect(
      queue.run({ opcode: WRITE, namespace: 1, ...driver.prp(page, 4096), dw10: 255 }).status,
    ).toBe(0);
    expect(
      queue.run({ opcode: READ, namespace: 1, ...driver.prp(page, 4096), dw10: 256 }).status,
    ).toBe(0x80);
    const target = driver.pages(1);
    queue.run({ opcode: READ, namespace: 1, ...driver.prp(target, 4096), dw10: 255 });
    expect(driver.bytes(target, 4096).every((byte) => byte === 7)).toBe(true);
  });

  it('a queue wraps many times, the phase tag turns, and every command is completed once', () => {
    const { driver, queue } = started({}, 5);
    const page = driver.pages(1);
    const prp = driver.prp(page, 512);
    const seen: number[] = [];
    for (let round = 0; round < 40; round++) {
      const identifiers = [0, 1, 2].map(() => queue.push({ opcode: READ, namespace: 1, ...prp }));
      queue.ring();
      const completions = queue.takeAll();
      expect(completions.map(({ identifier }) => identifier)).toEqual(identifiers);
      expect(completions.every(({ status }) => status === 0)).toBe(true);
      expect(completions[2]!.head).toBe(queue.tail);
      seen.push(...identifiers);
    }
    expect(new Set(seen).size).toBe(120);
  });

  it('commands wait where the completion queue is full, and go on when the host has taken completions', () => {
    const { driver, queue } = started({}, 8);
    const prp = driver.prp(driver.pages(1), 512);
    for (let count = 0; count < 4; count++) queue.push({ opcode: READ, namespace: 1, ...prp });
    queue.ring();
    for (let count = 0; count < 4; count++) expect(queue.take(false)).not.toBeNull();
    // Four of seven places are taken as long as the host does not say that it has seen them.
    for (let count = 0; count < 7; count++) queue.push({ opcode: READ, namespace: 1, ...prp });
    queue.ring();
    const before = [queue.take(false), queue.take(false), queue.take(false), queue.take(false)];
    expect(before.map((completion) => completion !== null)).toEqual([true, true, true, false]);
    queue.acknowledge();
    expect(queue.takeAll()).toHaveLength(4);
  });

  it('data is in memory before its completion is, and both go in one call', () => {
    const { driver, queue } = started();
    const target = driver.pages(2);
    const order: number[] = [];
    const together: number[] = [];
    driver.program.memory.beforeCopy = (list, write) => {
      together.push(list.together);
      if (write) for (let index = 0; index < list.count; index++) order.push(list.frame[index]!);
    };
    const before = driver.program.memory.calls;
    for (let index = 0; index < 2; index++) {
      queue.push({
        opcode: READ,
        namespace: 1,
        ...driver.prp(target + index * 4096, 4096),
        dw10: 8 * index,
        dw12: 7,
      });
    }
    queue.ring();
    // Neighbours in memory and on the disk are one segment.
    expect(order).toEqual([target / 4096, queue.completion / 4096]);
    // Commands, then data: what is written behind it waits until it is there.
    expect(together).toEqual([1, 1]);
    expect(driver.program.memory.calls - before).toBe(2);
  });

  it('doorbells written into the mapped BAR are found by poll', () => {
    const { driver, queue } = started();
    const bar = driver.program.regions.get(0)!.bytes;
    const doorbells = new Uint32Array(bar.buffer, Register.DOORBELLS);
    expect(driver.device.poll()).toBe(false);
    queue.push({ opcode: READ, namespace: 1, ...driver.prp(driver.pages(1), 512) });
    doorbells[2] = queue.tail;
    expect(driver.device.poll()).toBe(true);
    expect(queue.take()).toMatchObject({ status: 0 });
    expect(driver.device.poll()).toBe(false);
  });

  it('more data than a batch holds is done in several', () => {
    const { driver, queue } = started({}, 64);
    const bytes = 512 * 1024;
    const target = driver.pages(129) + 512;
    const prp = driver.prp(target, bytes);
    const fields = { namespace: 1, dw12: 1023 };
    driver.bytes(target, bytes).set(pseudoRandom(bytes));
    for (let count = 0; count < 20; count++)
      queue.push({ opcode: WRITE, ...prp, ...fields, dw10: 1024 * count });
    for (let count = 0; count < 40; count++)
      queue.push({ opcode: READ, ...prp, ...fields, dw10: 1024 * count });
    queue.ring();
    const completions = queue.takeAll();
    expect(completions.map(({ status }) => status)).toEqual(new Array(60).fill(0));
    expect(new Set(completions.map(({ identifier }) => identifier)).size).toBe(60);
  });

  it('flush, write zeroes and deallocate do what they say', () => {
    const { driver, queue } = started();
    const page = driver.pages(1);
    const check = driver.pages(1);
    const blocks = (first: number, count: number) => ({
      namespace: 1,
      dw10: first,
      dw12: count - 1,
    });
    driver.bytes(page, 4096).fill(9);
    queue.run({ opcode: WRITE, ...driver.prp(page, 4096), ...blocks(8, 8) });
    expect(queue.run({ opcode: 0, namespace: 1 }).status).toBe(0);
    expect(queue.run({ opcode: 0, namespace: 0xffffffff }).status).toBe(0);
    expect(queue.run({ opcode: 8, ...blocks(9, 2) }).status).toBe(0);
    const ranges = driver.pages(1);
    for (const [index, first] of [12, 14].entries()) {
      driver.view.setUint32(ranges + 16 * index + 4, 1, true);
      driver.view.setUint32(ranges + 16 * index + 8, first, true);
    }
    const discard = { opcode: 9, namespace: 1, ...driver.prp(ranges, 32), dw10: 1 };
    expect(queue.run(discard).status).toBe(0);
    queue.run({ opcode: READ, ...driver.prp(check, 4096), ...blocks(8, 8) });
    const nine = () => [...Array(8).keys()].map((block) => driver.bytes(check, 4096)[block * 512]);
    expect(nine()).toEqual([9, 0, 0, 9, 9, 9, 9, 9]);
    expect(queue.run({ ...discard, dw11: 4 }).status).toBe(0);
    queue.run({ opcode: READ, ...driver.prp(check, 4096), ...blocks(8, 8) });
    expect(nine()).toEqual([9, 0, 0, 9, 0, 9, 0, 9]);
  });

  it('compare tells whether memory and disk are the same', () => {
    const { driver, queue } = started();
    const page = driver.pages(3);
    driver.bytes(page, 12288).set(pseudoRandom(12288));
    const fields = { namespace: 1, ...driver.prp(page, 12288), dw10: 5, dw12: 23 };
    queue.run({ opcode: WRITE, ...fields });
    expect(queue.run({ opcode: 5, ...fields }).status).toBe(0);
    driver.bytes(page, 12288)[12287]! ^= 1;
    expect(queue.run({ opcode: 5, ...fields })).toMatchObject({ status: 0x285, retryable: false });
  });
});

describe('wrong I/O commands', () => {
  const cases: [
    string,
    (driver: NvmeDriver) => Parameters<ReturnType<typeof started>['queue']['run']>[0],
    number,
  ][] = [
    ['an opcode that does not exist', () => ({ opcode: 0x7f, namespace: 1 }), 0x01],
    ['namespace 0', () => ({ opcode: READ, namespace: 0 }), 0x0b],
    ['namespace 2', () => ({ opcode: READ, namespace: 2 }), 0x0b],
    ['all namespaces for a read', () => ({ opcode: READ, namespace: 0xffffffff }), 0x0b],
    ['a block behind the last', () => ({ opcode: READ, namespace: 1, dw10: 131072 }), 0x80],
    ['blocks across the end', () => ({ opcode: WRITE, namespace: 1, dw10: 131071, dw12: 1 }), 0x80],
    [
      'a block far away',
      () => ({ opcode: READ, namespace: 1, dw11: 0xffffffff, dw10: 0xffffffff }),
      0x80,
    ],
    [
      'write zeroes across the end',
      () => ({ opcode: 8, namespace: 1, dw10: 131071, dw12: 1 }),
      0x80,
    ],
    ['more than the transfer limit', () => ({ opcode: READ, namespace: 1, dw12: 1024 }), 0x02],
    ['a fused operation', (d) => ({ opcode: READ, namespace: 1, flags: 1, prp1: d.iova(0) }), 0x02],
    ['an odd PRP1', (d) => ({ opcode: READ, namespace: 1, prp1: d.iova(0) + 1 }), 0x13],
    [
      'an unaligned PRP2',
      (d) => ({ opcode: READ, namespace: 1, prp1: d.iova(0), prp2: d.iova(8), dw12: 15 }),
      0x13,
    ],
    [
      'an unaligned list',
      (d) => ({ opcode: READ, namespace: 1, prp1: d.iova(0), prp2: d.iova(4), dw12: 31 }),
      0x13,
    ],
    ['memory that is not mapped', () => ({ opcode: READ, namespace: 1, prp1: 0x5000 }), 0x04],
    [
      'memory that is not mapped, for a write',
      () => ({ opcode: WRITE, namespace: 1, prp1: 0x5000 }),
      0x04,
    ],
    [
      'memory above all addresses',
      () => ({ opcode: READ, namespace: 1, prp1: 2 ** 64 - 4096 }),
      0x04,
    ],
    [
      'a list that is not mapped',
      (d) => ({ opcode: READ, namespace: 1, prp1: d.iova(0), prp2: 0x5000, dw12: 31 }),
      0x04,
    ],
  ];
  for (const [what, fields, status] of cases) {
    it(`${what} is answered with status ${status.toString(16)}`, () => {
      const { driver, queue } = started();
      expect(queue.run(fields(driver)).status).toBe(status);
      // The queue goes on.
      expect(
        queue.run({ opcode: READ, namespace: 1, ...driver.prp(driver.pages(1), 512) }).status,
      ).toBe(0);
    });
  }

  it('a list that cannot be fetched is not taken for the one that was fetched before', () => {
    const { driver, queue } = started();
    const target = driver.pages(4);
    const fields = { opcode: READ, namespace: 1, dw12: 31 };
    const { prp1, prp2 } = driver.prp(target, 4 * 4096);
    expect(queue.run({ ...fields, prp1, prp2 }).status).toBe(0);
    driver.bytes(target, 4 * 4096).fill(0xee);
    expect(queue.run({ ...fields, prp1, prp2: 0x5000 })).toMatchObject({
      status: 4,
      retryable: true,
    });
    expect(driver.bytes(target, 4 * 4096).every((byte) => byte === 0xee)).toBe(true);
  });

  it('an entry of a list that is not page aligned is refused', () => {
    const { driver, queue } = started();
    const page = driver.pages(4);
    const { prp1, prp2 } = driver.prp(page, 4 * 4096);
    setLong(driver.view, prp2 - IOVA_BASE_PAGE * 4096 + 8, driver.iova(page) + 512);
    expect(queue.run({ opcode: READ, namespace: 1, prp1, prp2, dw12: 31 }).status).toBe(0x13);
  });

  it('only the command whose data is refused fails; the batch goes on', () => {
    const { driver, queue } = started();
    const good = driver.pages(2);
    driver.bytes(good, 4096).fill(3);
    queue.push({ opcode: WRITE, namespace: 1, ...driver.prp(good, 512), dw10: 0 });
    queue.push({ opcode: WRITE, namespace: 1, prp1: 0x7000, dw10: 1 });
    queue.push({ opcode: READ, namespace: 1, prp1: 0x7000, dw10: 2 });
    queue.push({ opcode: WRITE, namespace: 1, ...driver.prp(good, 512), dw10: 3 });
    queue.ring();
    expect(queue.takeAll().map(({ status, retryable }) => [status, retryable])).toEqual([
      [0, true],
      [4, true],
      [4, true],
      [0, true],
    ]);
    const check = driver.pages(1);
    queue.run({ opcode: READ, namespace: 1, ...driver.prp(check, 2048), dw10: 0, dw12: 3 });
    expect([0, 1, 2, 3].map((block) => driver.bytes(check, 2048)[block * 512])).toEqual([
      3, 0, 0, 3,
    ]);
  });
});

describe('bus mastering', () => {
  it('off: nothing is fetched; on again: what waits is done', () => {
    const { driver, queue } = started();
    const target = driver.pages(1);
    driver.bytes(target, 512).fill(0xee);
    command(driver.device, 2);
    queue.push({ opcode: READ, namespace: 1, ...driver.prp(target, 512) });
    const calls = driver.program.memory.calls;
    queue.ring();
    expect(driver.device.poll()).toBe(false);
    expect(driver.program.memory.calls).toBe(calls);
    expect(queue.take()).toBeNull();
    expect(driver.bytes(target, 1)[0]).toBe(0xee);
    command(driver.device, 6);
    expect(driver.device.poll()).toBe(true);
    expect(queue.take()).toMatchObject({ status: 0 });
    expect(driver.bytes(target, 1)[0]).toBe(0);
  });
});

describe('power', () => {
  it('in D3hot nothing is fetched; awake again, what waits is done', () => {
    const { driver, queue } = started();
    driver.device.writeRegion(7, 0x64, Uint8Array.of(3));
    queue.push({ opcode: 0, namespace: 1 });
    queue.ring();
    expect(driver.device.poll()).toBe(false);
    expect(queue.take()).toBeNull();
    driver.device.writeRegion(7, 0x64, Uint8Array.of(0));
    expect(driver.device.poll()).toBe(true);
    expect(queue.take()).toMatchObject({ status: 0 });
  });
});

describe('I/O page faults', () => {
  it('R2.1: queues, lists and data are faulted in as the device touches them', () => {
    const driver = new NvmeDriver({}, { faulting: true });
    driver.enable();
    const queue = driver.createQueue(1, 16);
    const source = driver.pages(40);
    const bytes = 32 * PAGE_SIZE;
    driver.bytes(source, bytes).set(pseudoRandom(bytes));
    const prp = driver.prp(source, bytes);
    driver.program.faults.length = 0;
    const fields = { namespace: 1, dw10: 0, dw12: 255 };
    expect(queue.run({ opcode: WRITE, ...prp, ...fields }).status).toBe(0);
    const pages = 32 + 1 + 2;
    expect(driver.program.faults).toHaveLength(pages);
    expect(new Set(driver.program.faults).size).toBe(pages);
    const target = driver.pages(32);
    expect(queue.run({ opcode: READ, ...driver.prp(target, bytes), ...fields }).status).toBe(0);
    expect(Buffer.compare(driver.bytes(source, bytes), driver.bytes(target, bytes))).toBe(0);
    expect(driver.program.domain.pages).toBeGreaterThan(64);
  });

  it('R3.1: a fault that takes an earlier page of the same batch away finds that page copied already', () => {
    const driver = new NvmeDriver({}, { faulting: true });
    driver.enable();
    const queue = driver.createQueue(1, 16);
    const { program } = driver;
    // Memory pressure: room for one data page at a time. A copy to a page that was taken away is
    // caught below.
    const target = driver.pages(8);
    const first = target / PAGE_SIZE;
    const isData = (frame: number) => frame >= first && frame < first + 8;
    program.beforeFault = (iovaPage) => {
      if (!isData(iovaPage - IOVA_BASE_PAGE)) return;
      for (let frame = first; frame < first + 8; frame++) program.unmapFrame(frame);
    };
    const wild: number[] = [];
    program.memory.beforeCopy = (list) => {
      for (let index = 0; index < list.count; index++) {
        const frame = list.frame[index]!;
        if (isData(frame) && program.domain.frameAt(frame + IOVA_BASE_PAGE) < 0) wild.push(frame);
      }
    };
    const source = driver.pages(8);
    driver.bytes(source, 8 * PAGE_SIZE).set(pseudoRandom(8 * PAGE_SIZE));
    const fields = { namespace: 1, dw10: 0, dw12: 63 };
    expect(
      queue.run({ opcode: WRITE, ...driver.prp(source, 8 * PAGE_SIZE), ...fields }).status,
    ).toBe(0);
    expect(
      queue.run({ opcode: READ, ...driver.prp(target, 8 * PAGE_SIZE), ...fields }).status,
    ).toBe(0);
    expect(wild).toEqual([]);
    expect(
      Buffer.compare(driver.bytes(source, 8 * PAGE_SIZE), driver.bytes(target, 8 * PAGE_SIZE)),
    ).toBe(0);
  });

  it('a page that went away without notice is faulted in again; one that cannot come back fails its command only', () => {
    const driver = new NvmeDriver({}, { faulting: true });
    driver.enable();
    const queue = driver.createQueue(1, 16);
    const { program } = driver;
    const target = driver.pages(6);
    const frame = target / PAGE_SIZE;
    const fields = { namespace: 1, dw10: 0, dw12: 15 };
    const prps = [0, 1, 2].map((index) => driver.prp(target + index * 8192, 8192));
    for (const prp of prps) expect(queue.run({ opcode: READ, ...prp, ...fields }).status).toBe(0);
    program.memory.gone.add(frame + 1).add(frame + 3);
    program.refusedFrames.add(frame + 3);
    program.faults.length = 0;
    for (const prp of prps) queue.push({ opcode: READ, ...prp, ...fields });
    queue.ring();
    expect(queue.takeAll().map(({ status }) => status)).toEqual([0, 4, 0]);
    expect(program.faults).toEqual([frame + 1 + IOVA_BASE_PAGE, frame + 3 + IOVA_BASE_PAGE]);
    expect(program.domain.frameAt(frame + 3 + IOVA_BASE_PAGE)).toBe(-1);
  });
});
