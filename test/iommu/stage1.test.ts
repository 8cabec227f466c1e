import { beforeEach, describe, expect, test } from 'vitest';
import { Errno } from '../../src/abi/errno.js';
import { runDirect } from '../../src/flow/direct.js';
import { IommuDevice } from '../../src/iommu/device.js';
import { Domain } from '../../src/iommu/domain.js';
import { FaultQueue } from '../../src/iommu/fault-queue.js';
import { FaultReport, PageResponse } from '../../src/iommu/page-request.js';
import { Stage1, TableMemory } from '../../src/iommu/stage1.js';
import { READ, WRITE } from '../../src/mm/address-space.js';
import { allocatePlain } from '../../src/mm/frame-memory.js';
import { FlatMemory } from '../device/program.js';
import { errnoOf } from '../errno-of.js';

const PAGE = 4096;
/** Frame f is IOVA page f + BASE; tables lie at the beginning. */
const BASE = 0x100;
const PRESENT = 1;
const WRITABLE = 2;
const USER = 4;
const LARGE = 0x80;
const ALL = PRESENT | WRITABLE | USER;

let memory: FlatMemory;
let domain: Domain;
let device: IommuDevice;
let queue: FaultQueue;
let stage1: Stage1;

beforeEach(() => {
  memory = new FlatMemory(16);
  domain = new Domain({ nested: true });
  domain.map(BASE, 0, 16, READ | WRITE);
  device = new IommuDevice({ address: '0000:00:01.0', stalls: true });
  device.attach(domain);
  queue = new FaultQueue(() => 1);
  stage1 = new Stage1(BASE, queue, new TableMemory(memory, allocatePlain));
  // Input page 0 of the first 2 MiB: tables in frames 0 to 3.
  for (let level = 0; level < 3; level++) entry(level, 0, BASE + level + 1, ALL);
  device.attachStage1(stage1);
});

function entry(frame: number, index: number, page: number, bits: number): void {
  const view = new DataView(memory.bytes.buffer);
  view.setBigUint64(frame * PAGE + index * 8, BigInt(page) * 4096n + BigInt(bits), true);
}

describe('R8.1: a walk of both stages', () => {
  test('ends in the frame that the second stage has for the page that the first leads to', () => {
    entry(3, 5, BASE + 9, ALL);
    expect(device.translate(5, WRITE)).toBe(9);
    expect(stage1.iovaPage).toBe(BASE + 9);
    expect(device.stage2Page(5, READ)).toBe(BASE + 9);
  });

  test('may end in the first frame of all, which nobody is asked for', () => {
    entry(3, 5, BASE, ALL);
    expect(device.translate(5, WRITE)).toBe(0);
    expect(stage1.end).toBe('frame');
    expect(device.request(5, WRITE)).toBeNull();
    expect(device.fault(5, WRITE)).toBe(true);
    expect(device.stage2Page(5, READ)).toBe(BASE);
  });

  test('follows an entry that leads above 4 GiB', () => {
    const above = 2 ** 24 + 3;
    domain.map(above, 11, 1, READ | WRITE);
    entry(3, 5, above, ALL);
    expect(device.translate(5, READ)).toBe(11);
    expect(stage1.iovaPage).toBe(above);
  });

  test('takes leaves of 2 MiB and of 1 GiB', () => {
    entry(2, 1, 0, ALL | LARGE);
    expect(device.translate(512 + BASE + 3, READ)).toBe(3);
    entry(1, 1, 0, ALL | LARGE);
    expect(device.translate(512 * 512 + BASE + 4, READ)).toBe(4);
  });

  test('reads through entries that cannot be written', () => {
    entry(3, 5, BASE + 9, PRESENT | USER);
    entry(1, 0, BASE + 2, PRESENT | USER);
    expect(device.translate(5, READ)).toBe(9);
    expect(device.translate(5, WRITE)).toBe(-1);
  });

  test.each([
    ['not present', WRITABLE | USER, READ],
    ['not writable', PRESENT | USER, WRITE],
    ["the supervisor's", PRESENT | WRITABLE, READ],
  ])('misses an entry that is %s in the first stage', (_what, bits, access) => {
    entry(3, 5, BASE + 9, bits);
    expect(device.translate(5, access)).toBe(-1);
    expect(stage1.end).toBe('stage1');
    expect(device.stage2Page(5, access)).toBe(-1);
    entry(3, 5, BASE + 9, ALL);
    entry(1, 0, BASE + 2, bits);
    expect(device.translate(5, access)).toBe(-1);
    expect(stage1.end).toBe('stage1');
  });

  test.each([
    ['a leaf of 512 GiB', () => entry(0, 0, 0, ALL | LARGE)],
    ['a leaf of 1 GiB that is not aligned', () => entry(1, 0, 2, ALL | LARGE)],
    ['a leaf of 2 MiB that is not aligned', () => entry(2, 0, 2, ALL | LARGE)],
  ])('finds %s malformed, and nobody is asked', (_what, set) => {
    set();
    expect(device.translate(5, READ)).toBe(-1);
    expect(stage1.end).toBe('malformed');
    expect(device.stage2Page(5, READ)).toBe(-1);
    expect(device.request(5, READ)).toBeNull();
    expect(device.fault(5, READ)).toBe(false);
    expect(device.counters.faultsRefused).toBe(1);
  });

  test('refuses an address beyond the lower half', () => {
    expect(device.translate(2 ** 35, READ)).toBe(-1);
    expect(stage1.end).toBe('malformed');
  });

  test('a page of the table that the domain lacks is asked for at the second stage, for reading', () => {
    const asked: number[][] = [];
    domain.unmap(BASE + 1, 1);
    const handler = {
      answer: (_device: IommuDevice, page: number, access: number) => {
        asked.push([page, access]);
        domain.map(page, page - BASE, 1, READ | WRITE);
        return PageResponse.SUCCESS;
      },
      // biome-ignore lint/correctness/useYield: it never waits
      handle: function* () {
        return PageResponse.INVALID;
      },
      pageLost: (_device: IommuDevice, page: number) => {
        asked.push([page]);
        memory.gone.clear();
        domain.unmap(page, 1);
      },
    };
    device.handlers.register(handler, FaultReport.STAGE2);
    device.enableIopf();
    entry(3, 5, BASE + 9, ALL);
    expect(device.translate(5, WRITE)).toBe(-1);
    expect(device.request(5, WRITE)).toBeNull();
    expect(device.fault(5, WRITE)).toBe(true);
    expect(device.translate(5, WRITE)).toBe(9);
    expect(device.fault(5, WRITE)).toBe(true);
    domain.unmap(BASE + 9, 1);
    expect(device.translate(5, WRITE)).toBe(-1);
    expect(device.fault(5, WRITE)).toBe(true);
    // One whose frame is gone is brought again.
    device.iotlb.flushAll();
    memory.gone.add(2);
    expect(device.translate(5, READ)).toBe(-1);
    expect(device.fault(5, READ)).toBe(true);
    expect(device.translate(5, READ)).toBe(9);
    // The next that is not there is not taken for lost.
    domain.unmap(BASE + 9, 1);
    expect(device.fault(5, READ)).toBe(true);
    expect(device.translate(5, READ)).toBe(9);
    // A page is that was lost behind a translation.
    device.pageLost(5);
    expect(device.translate(5, READ)).toBe(-1);
    expect(asked).toEqual([
      [BASE + 1, READ],
      [BASE + 9, WRITE],
      [BASE + 2],
      [BASE + 2, READ],
      [BASE + 9, READ],
      [BASE + 9],
    ]);
  });
});

describe('R8.1: the IOTLB with two stages', () => {
  test('keeps what it has until the guest invalidates, and loses it when the second stage changes', () => {
    entry(3, 5, BASE + 9, ALL);
    device.translate(5, READ);
    entry(3, 5, BASE + 10, ALL);
    expect(device.translate(5, READ)).toBe(9);
    device.iotlb.flush(5, 1);
    expect(device.translate(5, READ)).toBe(10);
    domain.unmap(BASE + 10, 1);
    expect(device.translate(5, READ)).toBe(-1);
  });
});

describe('R8.1: attaching', () => {
  test('leaves nothing of one way in the IOTLB when accesses go another', () => {
    entry(3, 5, BASE + 9, ALL);
    expect(device.translate(5, READ)).toBe(9);
    runDirect(device.detachStage1());
    expect(device.translate(5, READ)).toBe(-1);
    domain.map(5, 12, 1, READ);
    expect(device.translate(5, READ)).toBe(12);
    device.attachStage1(stage1);
    expect(device.translate(5, READ)).toBe(9);
    runDirect(device.replace({ domain, handler: null, stage1: null }));
    expect(device.translate(5, READ)).toBe(12);
  });

  test('takes one first stage, of a device that has a second and can wait', () => {
    expect(errnoOf(() => device.attachStage1(stage1))).toBe(Errno.EBUSY);
    const flat = new IommuDevice({ address: '0000:00:02.0' });
    flat.attach(new Domain());
    expect(errnoOf(() => flat.attachStage1(stage1))).toBe(Errno.EINVAL);
    const proud = new IommuDevice({ address: '0000:00:03.0', canFault: false });
    proud.attach(new Domain({ nested: true }));
    expect(errnoOf(() => proud.attachStage1(stage1))).toBe(Errno.ENODEV);
    expect(proud.handlers.stage1).toBeNull();
  });

  test('a request that waits is answered INVALID by detaching, and the device reaches the domain directly', () => {
    device.enableIopf();
    const request = device.request(7, READ)!;
    expect([request.done, queue.unread, device.busy]).toEqual([false, 1, true]);
    runDirect(device.detachStage1());
    expect([request.result, queue.unread, device.busy]).toEqual([false, 0, false]);
    expect(device.counters.responsesInvalid).toBe(1);
    expect(device.handlers.stage1).toBeNull();
    expect(device.translate(BASE + 7, READ)).toBe(7);
    runDirect(device.detachStage1());
    expect(device.request(7, READ)).toBeNull();
  });

  test('with page requests off a missing entry is refused', () => {
    const request = device.request(7, READ)!;
    expect(request.result).toBe(false);
    expect(queue.unread).toBe(0);
  });
});
