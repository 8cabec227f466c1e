import { beforeEach, describe, expect, test } from 'vitest';
import { Errno } from '../../src/abi/errno.js';
import { HwptPageResponse, HwptPgfault } from '../../src/abi/iommufd-structs.js';
import { readStruct, writeStruct } from '../../src/abi/layout.js';
import { runDirect } from '../../src/flow/direct.js';
import type { Flow } from '../../src/flow/flow.js';
import { IommuDevice } from '../../src/iommu/device.js';
import { Domain } from '../../src/iommu/domain.js';
import { FaultQueue } from '../../src/iommu/fault-queue.js';
import {
  type Fault,
  FaultReport,
  NO_PASID,
  type ReportResult,
} from '../../src/iommu/page-request.js';
import { READ, WRITE } from '../../src/mm/address-space.js';
import { errnoOf } from '../errno-of.js';

const PAGE = 0x1234;

let device: IommuDevice;
let queue: FaultQueue;

beforeEach(() => {
  device = new IommuDevice({ address: '0000:00:01.0', stalls: true });
  device.attach(new Domain({ nested: true }));
  queue = new FaultQueue(() => 42);
  device.handlers.register(queue, FaultReport.STAGE1);
  device.enableIopf();
});

function report(over: Partial<Fault> = {}): Flow<ReportResult> {
  const fault = {
    kind: 'page-request',
    iovaPage: PAGE,
    access: READ,
    pasid: NO_PASID,
    group: 5,
    last: true,
  } as const;
  const flow = device.report({ ...fault, level: 'stage1', ...over });
  flow.next();
  return flow;
}

function read(bytes = 400): Record<string, number | bigint>[] {
  const into = new Uint8Array(bytes);
  const got = queue.read(into);
  expect(got % HwptPgfault.size).toBe(0);
  return Array.from({ length: got / HwptPgfault.size }, (_, i) =>
    readStruct(HwptPgfault, into.subarray(i * HwptPgfault.size)),
  ) as Record<string, number | bigint>[];
}

function respond(cookie: number, code: number): number {
  return queue.write(writeStruct(HwptPageResponse, { cookie, code }));
}

describe('R8.1: a stage-1 fault queue', () => {
  test('has records of 40 bytes and answers of 8, as iommufd has', () => {
    expect([HwptPgfault.size, HwptPageResponse.size]).toEqual([40, 8]);
    expect([HwptPgfault.at.addr, HwptPgfault.at.length, HwptPgfault.at.cookie]).toEqual([
      24, 32, 36,
    ]);
  });

  test('shows a page request once, and its answer reaches the device', () => {
    const flow = report({ access: WRITE, pasid: 7 });
    expect(queue.unread).toBe(1);
    expect(read()).toEqual([
      {
        flags: 3,
        dev_id: 42,
        pasid: 7,
        grpid: 5,
        perm: WRITE,
        reserved: 0,
        addr: 0x1234000n,
        length: 0,
        cookie: 1,
      },
    ]);
    expect(read()).toEqual([]);
    expect(device.queue.pendingCount).toBe(1);
    expect(respond(1, 0)).toBe(8);
    expect(runDirect(flow)).toEqual({ errno: 0, code: 0 });
    expect([device.queue.pendingCount, queue.unread, queue.unanswered]).toEqual([0, 0, 0]);
    expect(device.counters.responsesSuccess).toBe(1);
  });

  test('INVALID refuses the access', () => {
    const flow = report();
    read();
    respond(1, 1);
    expect(runDirect(flow).code).toBe(1);
  });

  test('a group is read whole under one cookie, or not at all', () => {
    report({ last: false });
    const flow = report({ iovaPage: PAGE + 1 });
    expect(queue.read(new Uint8Array(HwptPgfault.size))).toBe(0);
    expect(queue.unread).toBe(1);
    const records = read();
    // Without a PASID the field is 0, and its flag is not set.
    expect(records.map(({ flags, pasid, cookie, addr }) => [flags, pasid, cookie, addr])).toEqual([
      [0, 0, 1, 0x1234000n],
      [2, 0, 1, 0x1235000n],
    ]);
    respond(1, 0);
    expect(runDirect(flow).code).toBe(0);
  });

  test('groups that do not fit stay for the next read', () => {
    report({ group: 5 });
    report({ group: 6 });
    expect(read(HwptPgfault.size).map(({ grpid }) => grpid)).toEqual([5]);
    expect(queue.unread).toBe(1);
    expect(read().map(({ grpid }) => grpid)).toEqual([6]);
  });

  test('an answer with an unknown cookie or code, or half of one, is EINVAL and answers nothing', () => {
    report();
    expect(errnoOf(() => respond(0, 0))).toBe(Errno.EINVAL);
    read();
    expect(errnoOf(() => respond(2, 0))).toBe(Errno.EINVAL);
    expect(errnoOf(() => respond(1, 2))).toBe(Errno.EINVAL);
    expect(queue.write(new Uint8Array(7))).toBe(0);
    expect(queue.unanswered).toBe(1);
    expect(respond(1, 0)).toBe(8);
    expect(errnoOf(() => respond(1, 0))).toBe(Errno.EINVAL);
  });

  test('cookies are numbers of 32 bits: behind the last comes 1', () => {
    Object.assign(queue, { nextCookie: 2 ** 32 - 1 });
    for (const group of [5, 6]) report({ group });
    expect(read().map(({ cookie }) => cookie)).toEqual([2 ** 32 - 1, 1]);
    expect(queue.cookie).toBe(2);
  });

  test('where there is nothing to read, nothing is given to user space', () => {
    expect(queue.read(new Uint8Array(200), () => false)).toBe(0);
  });

  test('records that user space could not take stay unread, under a cookie of their own later', () => {
    report({ group: 5 });
    report({ group: 6 });
    expect(queue.read(new Uint8Array(200), () => false)).toBe(-1);
    expect([queue.unread, queue.unanswered]).toEqual([2, 0]);
    expect(read().map(({ cookie }) => cookie)).toEqual([3, 4]);
    expect(errnoOf(() => respond(1, 0))).toBe(Errno.EINVAL);
  });

  test('tells when there is something to read and when not', () => {
    const told: boolean[] = [];
    const own = new FaultQueue(() => 1);
    own.watch((is) => told.push(is));
    expect(told.splice(0)).toEqual([false]);
    device.handlers.stage1 = own;
    report({ group: 5 });
    report({ group: 6 });
    own.read(new Uint8Array(HwptPgfault.size));
    expect(told).toEqual([true]);
    own.read(new Uint8Array(HwptPgfault.size));
    expect(told).toEqual([true, false]);
    report({ group: 7 });
    device.disableIopf();
    expect(told).toEqual([true, false, true, false]);
  });

  test('once it is closed all that waits is INVALID, and all that comes', () => {
    const flow = report({ group: 5 });
    queue.close();
    expect(runDirect(flow).code).toBe(1);
    report({ group: 6 });
    expect(device.busy).toBe(false);
    expect(device.counters.responsesInvalid).toBe(2);
  });

  test('R1.2: a stage-2 fault does not get there', () => {
    const flow = device.report({
      kind: 'page-request',
      iovaPage: PAGE,
      access: READ,
      pasid: NO_PASID,
      group: 1,
      last: true,
      level: 'stage2',
    });
    expect(runDirect(flow)).toEqual({ errno: Errno.EOPNOTSUPP, code: 1 });
    expect(queue.unread).toBe(0);
  });

  test('R5.6: page requests that go off are answered INVALID, so that a drain waits for no guest', () => {
    const flow = report();
    read();
    device.disableIopf();
    expect(runDirect(flow).code).toBe(1);
    runDirect(device.drain());
    expect(errnoOf(() => respond(1, 0))).toBe(Errno.EINVAL);
  });
});

describe('a fault queue as iommufd reads and writes it', () => {
  const RECORD = HwptPgfault.size;
  let own: FaultQueue;
  /** Where records were put. */
  let put: number[];

  beforeEach(() => {
    own = new FaultQueue(() => 42, true);
    device.handlers.stage1 = own;
    put = [];
  });

  const read = (count: number, room = Number.POSITIVE_INFINITY) =>
    own.readGroups(count, (record, at) => {
      expect(record.length).toBe(RECORD);
      if (at + RECORD > room) return false;
      put.push(at);
      return true;
    });

  test('whole groups are read, as many as there is room for; EINVAL where the first does not fit', () => {
    expect(read(400)).toBe(0);
    report({ group: 5, last: false });
    report({ group: 5 });
    report({ group: 6 });
    report({ group: 7 });
    expect(errnoOf(() => read(2 * RECORD - 1))).toBe(Errno.EINVAL);
    expect([own.unread, own.cookie]).toEqual([3, 1]);
    expect(read(4 * RECORD - 1)).toBe(3 * RECORD);
    expect(put).toEqual([0, RECORD, 2 * RECORD]);
    expect([own.unread, own.unanswered]).toEqual([1, 2]);
    expect(read(RECORD)).toBe(RECORD);
    expect(read(RECORD)).toBe(0);
  });

  test('what cannot be put stays unread, and is EFAULT where nothing was put before it', () => {
    report({ group: 5 });
    report({ group: 6, last: false });
    report({ group: 6 });
    expect(errnoOf(() => read(400, RECORD - 1))).toBe(Errno.EFAULT);
    expect(own.unread).toBe(2);
    expect(read(400, 2 * RECORD)).toBe(RECORD);
    expect([own.unread, own.unanswered]).toEqual([1, 1]);
    expect(read(400)).toBe(2 * RECORD);
  });

  test('a cookie is the lowest that no group has', () => {
    const answer = (cookie: number) =>
      own.write(writeStruct(HwptPageResponse, { cookie, code: 0 }));
    for (const group of [5, 6, 7]) report({ group });
    read(400);
    answer(2);
    report({ group: 8 });
    read(400);
    answer(2);
    expect(errnoOf(() => answer(2))).toBe(Errno.EINVAL);
    expect(own.unanswered).toBe(2);
    report({ group: 9 });
    report({ group: 10 });
    read(400);
    expect([answer(4), answer(2)]).toEqual([8, 8]);
  });

  test('answers are whole records at position 0 that can be copied, and a call takes 1,024', () => {
    for (let group = 0; group < 3; group++) report({ group });
    read(400);
    const answers = (count: number, position = 0, isThere = true) =>
      own.writeFrom(count, position, (into) => {
        for (let at = 0; at < into.length; at += HwptPageResponse.size)
          into.set(
            writeStruct(HwptPageResponse, { cookie: at / HwptPageResponse.size + 1, code: 0 }),
            at,
          );
        return isThere;
      });
    expect(errnoOf(() => answers(8, 8))).toBe(Errno.ESPIPE);
    expect(errnoOf(() => answers(12))).toBe(Errno.ESPIPE);
    expect(errnoOf(() => answers(8, 0, false))).toBe(Errno.EFAULT);
    expect(own.unanswered).toBe(3);
    let copied = 0;
    const tooMany = () =>
      own.writeFrom(2000 * HwptPageResponse.size, 0, (into) => {
        copied = into.length;
        return false;
      });
    expect(errnoOf(tooMany)).toBe(Errno.EFAULT);
    expect(copied).toBe(1024 * HwptPageResponse.size);
    expect(answers(16)).toBe(16);
    expect(own.unanswered).toBe(1);
  });
});

describe('R1.4: a device that is reset or gone', () => {
  test('gets INVALID for what was pending, once, and a late answer finds nothing', () => {
    const flow = report();
    read();
    device.reset();
    expect(device.counters.responsesInvalid).toBe(1);
    expect(device.queue.pendingCount).toBe(0);
    expect(runDirect(flow).code).toBe(1);
    expect(device.counters.responsesInvalid).toBe(1);
    expect(errnoOf(() => respond(1, 0))).toBe(Errno.EINVAL);
    expect(device.busy).toBe(false);
  });

  test('may use the group id again while the old handler is at work', () => {
    const old = report();
    device.reset();
    const again = report({ iovaPage: PAGE + 1 });
    expect(runDirect(old).code).toBe(1);
    expect(device.queue.pendingCount).toBe(1);
    const [record] = read();
    expect(record!['addr']).toBe(0x1235000n);
    respond(Number(record!['cookie']), 0);
    expect(runDirect(again).code).toBe(0);
    expect(device.counters.responsesSuccess).toBe(1);
  });

  test('forgets partial requests', () => {
    report({ last: false });
    expect(device.queue.partialCount).toBe(1);
    device.reset();
    expect(device.queue.partialCount).toBe(0);
    expect(device.counters.partialsDiscarded).toBe(1);
  });
});
