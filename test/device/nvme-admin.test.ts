import { describe, expect, it } from 'vitest';
import { nvme } from '../../src/device/nvme/kind.js';
import { Register } from '../../src/device/nvme/registers.js';
import { OptionError } from '../../src/device/options.js';
import { NvmeDriver } from './nvme-driver.js';
import { command, Program } from './program.js';

const { CC, CSTS, AQA, INTMS, INTMC } = Register;

function enabled(options: Record<string, string> = {}) {
  const driver = new NvmeDriver(options);
  driver.enable();
  return { driver, admin: driver.admin };
}

function text(bytes: Uint8Array, offset: number, length: number): string {
  return Buffer.from(bytes.subarray(offset, offset + length)).toString('latin1');
}

describe('registers', () => {
  it('CAP and VS say what the controller can do, and a program that maps them cannot change that', () => {
    const driver = new NvmeDriver();
    expect([driver.read(0), driver.read(4), driver.read(8)]).toEqual([0x0f0107ff, 0x20, 0x10400]);
    driver.write(0, 0);
    expect(driver.read(0)).toBe(0x0f0107ff);
    driver.program.regions.get(0)!.bytes.fill(0, 0, 12);
    driver.enable();
    expect([driver.read(0), driver.read(4), driver.read(8)]).toEqual([0x0f0107ff, 0x20, 0x10400]);
  });

  it('enabling through the mapped CC is found by poll, and so is disabling', () => {
    const driver = new NvmeDriver();
    const registers = new Uint32Array(driver.program.regions.get(0)!.bytes.buffer);
    registers[AQA / 4] = 0x001f001f;
    registers[Register.ASQ / 4] = driver.iova(driver.pages(1));
    registers[Register.ACQ / 4] = driver.iova(driver.pages(1));
    registers[CC / 4] = 0x00460001;
    expect(registers[CSTS / 4]).toBe(0);
    expect(driver.device.poll()).toBe(true);
    expect(registers[CSTS / 4]).toBe(1);
    registers[CC / 4] = 0x00460000;
    expect(driver.device.poll()).toBe(true);
    expect(registers[CSTS / 4]).toBe(0);
    expect(driver.device.poll()).toBe(false);
  });

  it('a configuration that cannot be is a fatal status, until the controller is reset', () => {
    for (const [cc, aqa] of [
      [0x00460011, 0x001f001f],
      [0x00460081, 0x001f001f],
      [0x00460801, 0x001f001f],
      [0x00460001, 0x001f0000],
      [0x00460001, 0x0000001f],
    ] as const) {
      const driver = new NvmeDriver();
      driver.write(AQA, aqa);
      driver.write(CC, cc);
      expect(driver.read(CSTS)).toBe(2);
      driver.write(CC, 0);
      expect(driver.read(CSTS)).toBe(0);
      driver.enable();
    }
  });

  it('an admin queue that is not mapped is a fatal status when it is used', () => {
    const driver = new NvmeDriver();
    driver.write(AQA, 0x001f001f);
    driver.write(Register.ASQ, 0x1000);
    driver.write(Register.ACQ, 0x2000);
    driver.write(CC, 0x00460001);
    expect(driver.read(CSTS)).toBe(1);
    driver.write(Register.DOORBELLS, 1);
    expect(driver.read(CSTS)).toBe(3);
  });

  it('a completion queue that is not mapped is a fatal status when it is used', () => {
    const { driver, admin } = enabled();
    driver.program.unmapFrame(admin.completion / 4096);
    admin.push({ opcode: 0x0a, dw10: 7 });
    admin.ring();
    expect(driver.read(CSTS)).toBe(3);
  });

  it('shutdown notification is answered with shutdown complete', () => {
    const { driver } = enabled();
    driver.write(CC, 0x00464001);
    expect(driver.read(CSTS)).toBe(0x9);
    driver.write(CC, 0);
    expect(driver.read(CSTS)).toBe(0);
    driver.enable();
  });

  it('reads of any size and at any place answer', () => {
    const driver = new NvmeDriver();
    const bytes = new Uint8Array(9);
    driver.device.readRegion(0, 3, bytes);
    expect([...bytes]).toEqual([0x0f, 0x20, 0, 0, 0, 0, 4, 1, 0]);
    driver.device.readRegion(0, 0x3ff7, bytes);
    expect([...bytes]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0]);
  });
});

describe('identify', () => {
  it('controller: names, limits and what is supported', () => {
    const { driver, admin } = enabled({ serial: 'S-42' });
    const page = driver.pages(1);
    expect(admin.run({ opcode: 6, prp1: driver.iova(page), dw10: 1 }).status).toBe(0);
    const bytes = driver.bytes(page, 4096);
    expect(text(bytes, 4, 20)).toBe('S-42'.padEnd(20));
    expect(text(bytes, 24, 40)).toBe('iopf NVMe controller'.padEnd(40));
    expect(text(bytes, 64, 8)).toBe('1.0'.padEnd(8));
    expect([...bytes.subarray(0, 4)]).toEqual([0x36, 0x1b, 0xf4, 0x1a]);
    expect(bytes[77]).toBe(7);
    expect(bytes[111]).toBe(1);
    expect([...bytes.subarray(258, 263)]).toEqual([3, 3, 3, 7, 63]);
    expect(driver.view.getUint32(page + 266, true)).toBe(343 | (373 << 16));
    expect(bytes[525]).toBe(7);
    expect(driver.view.getUint16(page + 2048, true)).toBe(2500);
    expect(driver.view.getUint16(page + 256, true)).toBe(2);
    expect(driver.view.getUint32(page + 80, true)).toBe(0x10400);
    expect([bytes[512], bytes[513]]).toEqual([0x66, 0x44]);
    expect(driver.view.getUint32(page + 516, true)).toBe(1);
    expect(text(bytes, 768, 4)).toBe('nqn.');
  });

  it('namespace: its size in blocks and the block format', () => {
    for (const [block, shift, blocks] of [
      ['512', 9, 131072],
      ['4096', 12, 16384],
    ] as const) {
      const { driver, admin } = enabled({ block });
      const page = driver.pages(1);
      expect(admin.run({ opcode: 6, namespace: 1, prp1: driver.iova(page) }).status).toBe(0);
      expect(driver.view.getBigUint64(page, true)).toBe(BigInt(blocks));
      const bytes = driver.bytes(page, 4096);
      expect(bytes[128 + 4 * bytes[26]! + 2]).toBe(shift);
    }
  });

  it('active namespaces and descriptors; the same unique id in both places', () => {
    const { driver, admin } = enabled();
    const page = driver.pages(3);
    const list = { opcode: 6, prp1: driver.iova(page), dw10: 2 };
    admin.run({ ...list, namespace: 0 });
    expect([...driver.bytes(page, 5)]).toEqual([1, 0, 0, 0, 0]);
    admin.run({ ...list, namespace: 1 });
    expect([...driver.bytes(page, 5)]).toEqual([0, 0, 0, 0, 0]);
    admin.run({ opcode: 6, namespace: 1, prp1: driver.iova(page + 4096), dw10: 3 });
    admin.run({ opcode: 6, namespace: 1, prp1: driver.iova(page + 8192) });
    expect([...driver.bytes(page + 4096, 4)]).toEqual([2, 16, 0, 0]);
    expect(driver.bytes(page + 4100, 16)).toEqual(driver.bytes(page + 8192 + 104, 16));
    expect(driver.bytes(page + 4100, 16).some((byte) => byte !== 0)).toBe(true);
  });

  it('the NVM command set adds one limit, of Verify, and there is no other command set', () => {
    const { driver, admin } = enabled();
    const page = driver.pages(1);
    for (const [dw10, namespace, limit] of [
      [5, 1, 0],
      [6, 0, 7],
    ] as const) {
      driver.bytes(page, 4096).fill(0xee);
      const identify = { opcode: 6, namespace, prp1: driver.iova(page), dw10 };
      expect(admin.run(identify).status).toBe(0);
      const [first, ...rest] = driver.bytes(page, 4096);
      expect(first).toBe(limit);
      expect(rest.every((byte) => byte === 0)).toBe(true);
      expect(admin.run({ ...identify, dw11: 2 << 24 }).status).toBe(0x02);
    }
    expect(admin.run({ opcode: 6, namespace: 2, prp1: driver.iova(page), dw10: 5 }).status).toBe(
      0x0b,
    );
  });

  it('a structure may lie across two pages', () => {
    const { driver, admin } = enabled();
    const page = driver.pages(2) + 100;
    expect(admin.run({ opcode: 6, ...driver.prp(page, 4096), dw10: 1 }).status).toBe(0);
    expect(driver.bytes(page, 4096)[513]).toBe(0x44);
  });
});

describe('features', () => {
  const get = (id: number, dw11 = 0, select = 0) => ({
    opcode: 0x0a,
    dw10: id | (select << 8),
    dw11,
  });
  const set = (id: number, dw11: number, save = 0) => ({ opcode: 0x09, dw10: id + save, dw11 });

  it('every mandatory feature can be got, and those that may be can be set', () => {
    const { admin } = enabled();
    for (const id of [1, 2, 4, 5, 6, 7, 8, 9, 0xa, 0xb]) {
      expect(admin.run(get(id)).status).toBe(0);
      expect(admin.run(get(id, 0, 3))).toMatchObject({ status: 0, result: 4 });
    }
    for (const [id, value] of [
      [1, 0x3],
      [5, 0x10],
      [6, 0],
      [8, 0x205],
      [0xa, 1],
      [0xb, 2],
    ] as const) {
      const initial = admin.run(get(id)).result;
      expect(admin.run(set(id, value)).status).toBe(0);
      expect(admin.run(get(id)).result).toBe(value);
      expect(admin.run(get(id, 0, 1)).result).toBe(initial);
    }
  });

  it('number of queues is what was asked for, at most 64, and stays once there are some', () => {
    const { driver, admin } = enabled();
    expect(admin.run(set(7, 0x00ff00ff)).result).toBe(0x003f003f);
    expect(admin.run(set(7, 0x00010002)).result).toBe(0x00010002);
    expect(admin.run(set(7, 0xffff0000)).status).toBe(2);
    expect(() => driver.createQueue(3, 16)).toThrow('status 101');
    driver.createQueue(1, 16);
    expect(admin.run(set(7, 0)).status).toBe(0x0c);
    expect(admin.run(get(7)).result).toBe(0x00010002);
  });

  it('temperature threshold and interrupt vectors are kept apart by their selectors', () => {
    const { admin } = enabled();
    expect(admin.run(set(4, 400)).status).toBe(0);
    expect(admin.run(set(4, 0x100000 | 100)).status).toBe(0);
    expect(admin.run(get(4)).result).toBe(400);
    expect(admin.run(get(4, 0x100000)).result).toBe(100);
    expect(admin.run(get(4, 0x10000)).status).toBe(2);
    expect(admin.run(set(9, 0x10005)).status).toBe(0);
    expect(admin.run(get(9, 5)).result).toBe(0x10005);
    expect(admin.run(get(9, 6)).result).toBe(6);
    expect(admin.run(get(9, 65)).status).toBe(2);
  });

  it('unknown features, saving, and a power state that does not exist are refused', () => {
    const { admin } = enabled();
    expect(admin.run(get(0x7f)).status).toBe(2);
    expect(admin.run(set(0x7f, 0)).status).toBe(2);
    expect(admin.run(get(1, 0, 4)).status).toBe(2);
    expect(admin.run(set(6, 1, 0x80000000)).status).toBe(0x10d);
    expect(admin.run(set(2, 1)).status).toBe(2);
  });

  it('a controller reset puts them back', () => {
    const { driver, admin } = enabled();
    admin.run(set(6, 0));
    driver.disable();
    driver.enable();
    expect(driver.admin.run(get(6)).result).toBe(1);
  });
});

describe('log pages', () => {
  it('health counts commands and bytes; errors are counted and listed newest first', () => {
    const { driver, admin } = enabled();
    const queue = driver.createQueue(2, 16);
    const page = driver.pages(1);
    const log = driver.pages(1);
    const prp = driver.prp(page, 4096);
    for (let count = 0; count < 3; count++) queue.run({ opcode: 2, namespace: 1, ...prp, dw12: 7 });
    queue.run({ opcode: 1, namespace: 1, ...prp, dw12: 7 });
    queue.run({ opcode: 2, namespace: 1, ...prp, dw10: 0x7fffffff, identifier: 77 });
    admin.run({ opcode: 0x55, identifier: 88 });
    expect(admin.run({ opcode: 2, prp1: driver.iova(log), dw10: 2 | (127 << 16) }).status).toBe(0);
    const long = (offset: number) => Number(driver.view.getBigUint64(log + offset, true));
    expect([long(32), long(48), long(64), long(80), long(176)]).toEqual([1, 1, 3, 1, 2]);
    expect(admin.run({ opcode: 2, prp1: driver.iova(log), dw10: 1 | (31 << 16) }).status).toBe(0);
    const entry = (at: number) => [
      long(at),
      driver.view.getUint16(log + at + 8, true),
      driver.view.getUint16(log + at + 10, true),
    ];
    expect(entry(0)).toEqual([2, 0, 88]);
    expect(entry(64)).toEqual([1, 2, 77]);
    expect(driver.view.getUint16(log + 64 + 12, true) >> 1).toBe(0x4080);
    // No parameter is told of.
    expect(driver.view.getUint16(log + 64 + 14, true)).toBe(0xffff);
    expect(long(64 + 16)).toBe(0x7fffffff);
  });

  it('firmware slot, and commands effects with an offset', () => {
    const { driver, admin } = enabled();
    const log = driver.pages(1);
    admin.run({ opcode: 2, prp1: driver.iova(log), dw10: 3 | (127 << 16) });
    expect(text(driver.bytes(log, 16), 8, 3)).toBe('1.0');
    expect(driver.bytes(log, 1)[0]).toBe(1);
    const effects = { opcode: 2, prp1: driver.iova(log), dw10: 5 | (7 << 16) };
    const effectOf = (opcode: number): number => {
      admin.run({ ...effects, dw12: 4 * opcode });
      return driver.view.getUint32(log, true);
    };
    const format = effectOf(0x80);
    admin.run({ ...effects, dw12: 1024 });
    // It changes blocks and their format, and wants the namespace to itself.
    expect(format).toBe(0x10007);
    const words = [0, 1, 2, 3].map((index) => driver.view.getUint32(log + 4 * index, true));
    expect(words).toEqual([1, 3, 1, 0]);
  });

  it('an unknown page and an offset behind the end are refused', () => {
    const { driver, admin } = enabled();
    const prp1 = driver.iova(driver.pages(1));
    expect(admin.run({ opcode: 2, prp1, dw10: 0x70 }).status).toBe(0x109);
    expect(admin.run({ opcode: 2, prp1, dw10: 2, dw12: 516 }).status).toBe(2);
    expect(admin.run({ opcode: 2, prp1, dw10: 2, dw12: 2 }).status).toBe(2);
    expect(admin.run({ opcode: 2, prp1, dw10: 2, namespace: 1 }).status).toBe(0);
    expect(admin.run({ opcode: 2, prp1, dw10: 2, namespace: 2 }).status).toBe(0x0b);
    const list = driver.prp(driver.pages(128), 512 * 1024);
    const most = { opcode: 2, ...list, dw10: 2 | (0xffff << 16), dw11: 1 };
    expect(admin.run(most).status).toBe(0);
    expect(admin.run({ ...most, dw10: 2, dw11: 2 }).status).toBe(2);
    expect(admin.run({ ...most, dw11: 0xffff }).status).toBe(2);
  });
});

describe('the error information log', () => {
  it('keeps the newest 64 entries and counts all', () => {
    const { driver, admin } = enabled();
    for (let one = 0; one < 66; one++) admin.run({ opcode: 0x7f, identifier: 100 + one });
    const log = driver.pages(1);
    admin.run({ opcode: 2, prp1: driver.iova(log), dw10: 1 | (0x3ff << 16) });
    const entry = (index: number) => [
      driver.view.getUint32(log + 64 * index, true),
      driver.view.getUint16(log + 64 * index + 10, true),
    ];
    expect(entry(0)).toEqual([66, 165]);
    expect(entry(63)).toEqual([3, 102]);
  });
});

describe('asynchronous events and abort', () => {
  it('a wrong doorbell is told to who waits for events, once until the error log is read', () => {
    const { driver, admin } = enabled();
    admin.push({ opcode: 0x0c, identifier: 500 });
    admin.ring();
    expect(admin.take()).toBeNull();
    driver.write(Register.DOORBELLS + 8 * 9, 1);
    expect(admin.take()).toMatchObject({ identifier: 500, status: 0, result: 0x00010000 });
    admin.push({ opcode: 0x0c, identifier: 501 });
    admin.ring();
    driver.write(Register.DOORBELLS + 8 * 9, 1);
    expect(admin.take()).toBeNull();
    admin.run({ opcode: 2, prp1: driver.iova(driver.pages(1)), dw10: 1 });
    driver.write(Register.DOORBELLS, 99);
    expect(admin.take()).toMatchObject({ identifier: 501, result: 0x00010100 });
    expect(driver.read(Register.DOORBELLS)).toBe(admin.tail);
  });

  it('a doorbell with no valid value in the mapped BAR is an event too, and is put back', () => {
    const { driver, admin } = enabled();
    const doorbells = new Int32Array(
      driver.program.regions.get(0)!.bytes.buffer,
      Register.DOORBELLS,
    );
    admin.push({ opcode: 0x0c, identifier: 7 });
    admin.ring();
    doorbells[0] = -5;
    expect(driver.device.poll()).toBe(true);
    expect(admin.take()).toMatchObject({ identifier: 7, result: 0x00010100 });
    expect(doorbells[0]).toBe(admin.tail);
  });

  it('a doorbell of no queue in the mapped BAR is an event too, wherever in the page it is', () => {
    const { driver, admin } = enabled();
    driver.createQueue(1, 8);
    const doorbells = new Int32Array(
      driver.program.regions.get(0)!.bytes.buffer,
      Register.DOORBELLS,
      1024,
    );
    for (const index of [4, 5, 130, 131, 1023]) {
      admin.push({ opcode: 0x0c, identifier: 7 });
      admin.ring();
      doorbells[index] = 0;
      for (let look = 0; look < 130; look++) driver.device.poll();
      expect(admin.take()).toMatchObject({ identifier: 7, result: 0x00010000 });
      expect(driver.device.poll()).toBe(false);
      admin.run({ opcode: 2, prp1: driver.iova(driver.pages(1)), dw10: 1 });
    }
    const elsewhere = [...doorbells.keys()].filter((index) => index > 3);
    expect(elsewhere.every((index) => doorbells[index] === -1)).toBe(true);
  });

  it('the doorbells of queues that are deleted are of no queue any more', () => {
    const { driver, admin } = enabled();
    driver.createQueue(1, 8);
    admin.run({ opcode: 0, dw10: 1 });
    admin.run({ opcode: 4, dw10: 1 });
    for (let look = 0; look < 130; look++) expect(driver.device.poll()).toBe(false);
    const doorbells = new Int32Array(
      driver.program.regions.get(0)!.bytes.buffer,
      Register.DOORBELLS,
    );
    admin.push({ opcode: 0x0c, identifier: 7 });
    admin.ring();
    for (const index of [2, 3]) {
      doorbells[index] = 1;
      for (let look = 0; look < 130; look++) driver.device.poll();
      expect(doorbells[index]).toBe(-1);
    }
    expect(admin.take()).toMatchObject({ identifier: 7, result: 0x00010000 });
  });

  it('a completion queue head with no valid value in the mapped BAR is an event when its queue is used', () => {
    const { driver, admin } = enabled();
    const queue = driver.createQueue(1, 8);
    const doorbells = new Int32Array(
      driver.program.regions.get(0)!.bytes.buffer,
      Register.DOORBELLS,
    );
    admin.push({ opcode: 0x0c, identifier: 7 });
    admin.ring();
    doorbells[3] = 8;
    queue.push({ opcode: 0, namespace: 1 });
    queue.ring();
    expect(queue.take()).toMatchObject({ status: 0 });
    expect(admin.take()).toMatchObject({ identifier: 7, result: 0x00010100 });
  });

  it('a temperature threshold below the temperature is an event', () => {
    const { admin } = enabled();
    admin.push({ opcode: 0x0c, identifier: 9 });
    admin.ring();
    admin.run({ opcode: 9, dw10: 0xb, dw11: 2 });
    admin.push({ opcode: 9, dw10: 4, dw11: 280 });
    admin.ring();
    const results = admin.takeAll().map(({ identifier, result }) => [identifier, result]);
    expect(results).toContainEqual([9, 0x00020101]);
  });

  it('an event of health is told once until the health log is read, unless that retains it', () => {
    const { driver, admin } = enabled();
    const [HEALTH, RETAIN] = [2 | (127 << 16), 1 << 15];
    const prp1 = driver.iova(driver.pages(1));
    admin.run({ opcode: 9, dw10: 0xb, dw11: 2 });
    /** Whether an event comes when the threshold is below the temperature again. */
    const isTold = (): boolean => {
      admin.push({ opcode: 0x0c, identifier: 600 });
      admin.push({ opcode: 9, dw10: 4, dw11: 280 });
      admin.ring();
      const told = admin.takeAll().some(({ identifier }) => identifier === 600);
      if (!told) admin.push({ opcode: 8, dw10: 600 << 16 });
      admin.ring();
      admin.takeAll();
      return told;
    };
    expect([isTold(), isTold()]).toEqual([true, false]);
    admin.run({ opcode: 2, prp1, dw10: HEALTH | RETAIN });
    expect(isTold()).toBe(false);
    admin.run({ opcode: 2, prp1, dw10: 1 | (15 << 16) }); // the log of errors is another
    expect(isTold()).toBe(false);
    admin.run({ opcode: 2, prp1, dw10: HEALTH });
    expect(isTold()).toBe(true);
  });

  it('a queue may lie at address 0, which is one as any other', () => {
    const { admin } = enabled();
    expect(admin.run({ opcode: 5, prp1: 0, dw10: 1 | (7 << 16), dw11: 1 }).status).toBe(0);
    expect(admin.run({ opcode: 1, prp1: 0, dw10: 1 | (7 << 16), dw11: 0x10001 }).status).toBe(0);
  });

  it('five requests are one too many', () => {
    const { admin } = enabled();
    for (let count = 0; count < 4; count++) admin.push({ opcode: 0x0c });
    admin.ring();
    expect(admin.take()).toBeNull();
    expect(admin.run({ opcode: 0x0c }).status).toBe(0x105);
  });

  it('abort takes an event request back, and says so where there is nothing to abort', () => {
    const { admin } = enabled();
    admin.push({ opcode: 0x0c, identifier: 300 });
    admin.push({ opcode: 8, dw10: 300 << 16, identifier: 301 });
    admin.ring();
    expect(admin.takeAll()).toMatchObject([
      { identifier: 300, status: 7 },
      { identifier: 301, status: 0, result: 0 },
    ]);
    expect(admin.run({ opcode: 8, dw10: 300 << 16 })).toMatchObject({ status: 0, result: 1 });
  });
});

describe('queues', () => {
  const create = (driver: NvmeDriver, fields: object) => {
    const prp1 = driver.iova(driver.pages(1));
    return driver.admin.run({ opcode: 5, prp1, dw10: 1 | (15 << 16), dw11: 3, ...fields }).status;
  };

  it('sixty-four pairs work side by side, each with its vector', () => {
    const { driver } = enabled();
    driver.device.interruptsEnabled(2, 65);
    const queues = [...Array(64).keys()].map((index) =>
      driver.createQueue(index + 1, 8, index + 1),
    );
    driver.program.sink.take();
    const prp = driver.prp(driver.pages(1), 512);
    for (const queue of queues) {
      expect(queue.run({ opcode: 2, namespace: 1, ...prp })).toMatchObject({
        status: 0,
        queue: queue.id,
      });
    }
    expect(driver.program.sink.take()).toEqual(queues.map(({ id }) => `msix ${id}`));
  });

  it('wrong completion queues are refused', () => {
    const { driver } = enabled();
    expect(create(driver, { dw10: 15 << 16 })).toBe(0x101);
    expect(create(driver, { dw10: 65 | (15 << 16) })).toBe(0x101);
    expect(create(driver, { dw10: 1 })).toBe(0x102);
    expect(create(driver, { dw10: 1 | (2048 << 16) })).toBe(0x102);
    expect(create(driver, { dw11: 2 })).toBe(0x02);
    expect(create(driver, { prp1: driver.iova(0) + 16 })).toBe(0x13);
    expect(create(driver, { dw11: 3 | (65 << 16) })).toBe(0x108);
    expect(create(driver, {})).toBe(0);
    expect(create(driver, {})).toBe(0x101);
  });

  it('wrong submission queues are refused', () => {
    const { driver } = enabled();
    const submission = (fields: object) =>
      create(driver, { opcode: 1, dw11: 1 | (1 << 16), ...fields });
    expect(submission({})).toBe(0x100);
    create(driver, {});
    expect(submission({ dw11: 1 })).toBe(0x100);
    expect(submission({ dw10: 15 << 16 })).toBe(0x101);
    expect(submission({ dw10: 1 })).toBe(0x102);
    expect(submission({ dw11: 1 << 16 })).toBe(0x02);
    expect(submission({ prp1: driver.iova(4) })).toBe(0x13);
    expect(submission({})).toBe(0);
    expect(submission({})).toBe(0x101);
  });

  it('entry sizes in CC that are not ours make no I/O queues', () => {
    const driver = new NvmeDriver();
    driver.enable();
    driver.write(CC, 1);
    expect(create(driver, {})).toBe(0x102);
  });

  it('a completion queue goes after its submission queues; then both ids are free', () => {
    const { driver, admin } = enabled();
    driver.createQueue(1, 16);
    expect(admin.run({ opcode: 4, dw10: 1 }).status).toBe(0x10c);
    expect(admin.run({ opcode: 0, dw10: 0 }).status).toBe(0x101);
    expect(admin.run({ opcode: 4, dw10: 0 }).status).toBe(0x101);
    expect(admin.run({ opcode: 0, dw10: 1 }).status).toBe(0);
    expect(admin.run({ opcode: 0, dw10: 1 }).status).toBe(0x101);
    expect(admin.run({ opcode: 4, dw10: 1 }).status).toBe(0);
    expect(admin.run({ opcode: 4, dw10: 1 }).status).toBe(0x101);
    const queue = driver.createQueue(1, 16);
    expect(queue.run({ opcode: 0, namespace: 1 }).status).toBe(0);
  });

  it('two submission queues complete into one completion queue', () => {
    const { driver, admin } = enabled();
    const queue = driver.createQueue(1, 16);
    const second = driver.pages(1);
    const made = admin.run({
      opcode: 1,
      prp1: driver.iova(second),
      dw10: 2 | (15 << 16),
      dw11: 1 | (1 << 16),
    });
    expect(made.status).toBe(0);
    driver.view.setUint32(second, 0 | (900 << 16), true);
    driver.view.setUint32(second + 4, 1, true);
    queue.push({ opcode: 0, namespace: 1, identifier: 901 });
    driver.write(Register.DOORBELLS + 16, 1);
    queue.ring();
    const completions = queue.takeAll().map((one) => [one.queue, one.identifier]);
    expect(completions).toEqual([
      [2, 900],
      [1, 901],
    ]);
  });

  it('a queue that is deleted with commands in it does not do them, nor does the one that takes its id', () => {
    const { driver, admin } = enabled();
    const queue = driver.createQueue(1, 16);
    const target = driver.pages(1);
    driver.bytes(target, 512).fill(0xcd);
    command(driver.device, 2);
    queue.push({ opcode: 2, namespace: 1, ...driver.prp(target, 512) });
    queue.ring();
    admin.push({ opcode: 0, dw10: 1, identifier: 1000 });
    admin.push({ opcode: 4, dw10: 1, identifier: 1001 });
    admin.ring();
    command(driver.device, 6);
    driver.device.poll();
    expect(admin.takeAll().map(({ status }) => status)).toEqual([0, 0]);
    const again = driver.createQueue(1, 16);
    expect(driver.device.poll()).toBe(false);
    expect(again.take()).toBeNull();
    expect(driver.bytes(target, 1)[0]).toBe(0xcd);
  });

  it('a queue made again begins with both doorbells at zero', () => {
    const { driver, admin } = enabled();
    const queue = driver.createQueue(1, 8);
    for (let count = 0; count < 3; count++) queue.run({ opcode: 0, namespace: 1 });
    admin.run({ opcode: 0, dw10: 1 });
    admin.run({ opcode: 4, dw10: 1 });
    const again = driver.createQueue(1, 8);
    for (let count = 0; count < 7; count++) again.push({ opcode: 0, namespace: 1 });
    again.ring();
    const taken = [...Array(7)].map(() => again.take(false));
    expect(taken.every((completion) => completion?.status === 0)).toBe(true);
  });

  it('the smallest admin queues work, one command at a time', () => {
    const driver = new NvmeDriver();
    driver.enable(2);
    const { admin } = driver;
    expect(driver.createQueue(1, 2).run({ opcode: 0, namespace: 1 }).status).toBe(0);
    admin.push({ opcode: 0x0c, identifier: 400 });
    admin.ring();
    // There is no room to complete both, so nothing is aborted.
    expect(admin.run({ opcode: 8, dw10: 400 << 16 })).toMatchObject({ status: 0, result: 1 });
    driver.write(Register.DOORBELLS + 8 * 9, 1);
    expect(admin.take()).toMatchObject({ identifier: 400 });
  });

  it('admin commands and events wait where the completion queue is full', () => {
    const driver = new NvmeDriver();
    driver.enable(4);
    const { admin } = driver;
    admin.push({ opcode: 0x0c, identifier: 400 });
    for (let count = 0; count < 2; count++) admin.push({ opcode: 0x0a, dw10: 7 });
    admin.ring();
    for (let count = 0; count < 3; count++) admin.push({ opcode: 0x0a, dw10: 7 });
    admin.ring();
    const taken = [admin.take(false), admin.take(false), admin.take(false), admin.take(false)];
    expect(taken.map((completion) => completion !== null)).toEqual([true, true, true, false]);
    driver.write(Register.DOORBELLS + 8 * 9, 1);
    expect(driver.device.poll()).toBe(false);
    expect(admin.take(false)).toBeNull();
    admin.acknowledge();
    expect(admin.takeAll().map(({ identifier }) => identifier)).toContain(400);
  });

  it('an unknown admin opcode is refused', () => {
    const { admin } = enabled();
    expect(admin.run({ opcode: 0x7e })).toMatchObject({ status: 1, retryable: false });
    expect(admin.run({ opcode: 6, dw10: 0x33 }).status).toBe(2);
    expect(admin.run({ opcode: 6, namespace: 2 }).status).toBe(0x0b);
  });
});

describe('reset in the middle', () => {
  it('controller reset with events and commands outstanding: nothing comes back, and everything works again', () => {
    const { driver, admin } = enabled();
    const queue = driver.createQueue(1, 8);
    const data = driver.pages(1);
    driver.bytes(data, 512).fill(0x3c);
    queue.run({ opcode: 1, namespace: 1, ...driver.prp(data, 512), dw10: 3 });
    admin.push({ opcode: 0x0c });
    admin.ring();
    command(driver.device, 2);
    queue.push({ opcode: 2, namespace: 1, ...driver.prp(data, 512), dw10: 4 });
    queue.ring();
    driver.disable();
    expect(driver.read(CSTS)).toBe(0);
    command(driver.device, 6);
    expect(driver.device.poll()).toBe(false);
    expect(queue.take()).toBeNull();
    expect(driver.bytes(data, 1)[0]).toBe(0x3c);
    driver.enable();
    const again = driver.createQueue(1, 8);
    const check = driver.pages(1);
    expect(again.run({ opcode: 2, namespace: 1, ...driver.prp(check, 512), dw10: 3 }).status).toBe(
      0,
    );
    expect(driver.bytes(check, 1)[0]).toBe(0x3c);
  });

  it('function reset does the same, and the disk keeps what was written', () => {
    const { driver } = enabled();
    const queue = driver.createQueue(1, 8);
    const data = driver.pages(1);
    driver.bytes(data, 512).fill(0x3d);
    queue.run({ opcode: 1, namespace: 1, ...driver.prp(data, 512), dw10: 3 });
    driver.device.reset();
    expect([driver.read(CC), driver.read(CSTS), driver.read(AQA)]).toEqual([0, 0, 0]);
    driver.enable();
    const again = driver.createQueue(1, 8);
    const check = driver.pages(1);
    again.run({ opcode: 2, namespace: 1, ...driver.prp(check, 512), dw10: 3 });
    expect(driver.bytes(check, 1)[0]).toBe(0x3d);
  });

  it('after release nothing is polled', () => {
    const { driver } = enabled();
    const queue = driver.createQueue(1, 8);
    driver.device.release();
    queue.push({ opcode: 0, namespace: 1 });
    const doorbells = new Int32Array(
      driver.program.regions.get(0)!.bytes.buffer,
      Register.DOORBELLS,
    );
    doorbells[2] = 1;
    const calls = driver.program.memory.calls;
    expect(driver.device.poll()).toBe(false);
    expect(driver.program.memory.calls).toBe(calls);
    expect(queue.take()).toBeNull();
  });
});

describe('the interrupt pin', () => {
  it('is asserted while the host has completions to take, and INTMS and INTMC mask it', () => {
    const { driver, admin } = enabled();
    const { sink } = driver.program;
    sink.take();
    admin.push({ opcode: 0x0a, dw10: 7 });
    admin.ring();
    expect(sink.take()).toEqual(['intx 1']);
    driver.write(INTMS, 1);
    expect(driver.read(INTMC)).toBe(1);
    expect(sink.take()).toEqual(['intx 0']);
    driver.write(INTMC, 1);
    expect(driver.read(INTMS)).toBe(0);
    expect(sink.take()).toEqual(['intx 1']);
    admin.take();
    expect(sink.take()).toEqual(['intx 0']);
  });

  it('goes down before a call reads its state, once the mapped head doorbell says so', () => {
    const { driver, admin } = enabled();
    const registers = new Uint32Array(driver.program.regions.get(0)!.bytes.buffer);
    const status = () => {
      const bytes = new Uint8Array(2);
      driver.device.readRegion(7, 6, bytes);
      return bytes[0]! & 8;
    };
    for (const commandRegister of [6, 2]) {
      admin.push({ opcode: 0x0a, dw10: 7 });
      admin.ring();
      expect(status()).toBe(8);
      command(driver.device, commandRegister);
      admin.take(false);
      registers[Register.DOORBELLS / 4 + 1] = admin.head;
      expect(status()).toBe(0);
    }
  });

  it('through the mapped BAR as well', () => {
    const { driver, admin } = enabled();
    const registers = new Uint32Array(driver.program.regions.get(0)!.bytes.buffer);
    driver.program.sink.take();
    for (let round = 0; round < 2; round++) {
      registers[INTMS / 4] = 1;
      driver.device.poll();
      admin.push({ opcode: 0x0a, dw10: 7 });
      registers[Register.DOORBELLS / 4] = admin.tail;
      driver.device.poll();
      expect(driver.program.sink.take()).toEqual([]);
      registers[INTMC / 4] = 1;
      driver.device.poll();
      expect(driver.program.sink.take()).toEqual(['intx 1']);
      admin.take(false);
      registers[Register.DOORBELLS / 4 + 1] = admin.head;
      driver.device.poll();
      expect(driver.program.sink.take()).toEqual(['intx 0']);
    }
  });

  it('a completion queue without interrupts raises none', () => {
    const { driver, admin } = enabled();
    const [submission, completion] = [driver.pages(1), driver.pages(1)];
    admin.run({ opcode: 5, prp1: driver.iova(completion), dw10: 1 | (7 << 16), dw11: 1 });
    admin.run({
      opcode: 1,
      prp1: driver.iova(submission),
      dw10: 1 | (7 << 16),
      dw11: 1 | (1 << 16),
    });
    driver.program.sink.take();
    driver.view.setUint32(submission, 0, true);
    driver.view.setUint32(submission + 4, 1, true);
    driver.write(Register.DOORBELLS + 8, 1);
    expect(driver.view.getUint16(completion + 14, true)).toBe(1);
    expect(driver.program.sink.take()).toEqual([]);
  });
});

describe('options', () => {
  const make = (options: Record<string, string>) => () =>
    nvme.create(options, new Program({ pages: 1 }).surroundings);

  it('wrong ones are told with what is allowed', () => {
    expect(make({ sise: '64M' })).toThrow(
      new OptionError(
        "device nvme has no option 'sise'; it takes size, file, block, readonly, cmb, mmap, serial",
      ),
    );
    for (const size of ['', '0', '64X', '-1', '1.5M', '1000', '17T', 'x']) {
      expect(make({ size })).toThrow(/^device nvme: size=.* is not valid; size takes/);
    }
    expect(make({ block: '1024' })).toThrow(
      'device nvme: block=1024 is not valid; block takes one of 512, 4096',
    );
    expect(make({ readonly: '1' })).toThrow('readonly takes one of on, off');
    expect(make({ serial: '' })).toThrow('serial takes 1 to 20');
    for (const cmb of ['0', '2K', '3M', '2G'])
      expect(make({ cmb })).toThrow('cmb takes a power of two from 4K to 1G');
    expect(make({ file: '/x' })).toThrow('this run has no files');
  });

  it('sizes in all units', () => {
    for (const size of ['512', '1024k', '64M', '64MiB', '1G', '16T'])
      expect(make({ size })).not.toThrow();
  });
});
