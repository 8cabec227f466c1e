import { beforeEach, describe, expect, test } from 'vitest';
import { Errno } from '../../src/abi/errno.js';
import { HwptPageResponse, HwptPgfault } from '../../src/abi/iommufd-structs.js';
import { readStruct, writeStruct } from '../../src/abi/layout.js';
import { DmaPort } from '../../src/device/dma-port.js';
import { runDirect } from '../../src/flow/direct.js';
import type { Flow } from '../../src/flow/flow.js';
import { IommuDevice } from '../../src/iommu/device.js';
import { Domain } from '../../src/iommu/domain.js';
import { FaultQueue } from '../../src/iommu/fault-queue.js';
import {
  type DeviceFaultHandler,
  FaultReport,
  PageResponse,
  type PageResponseCode,
  WAITS,
} from '../../src/iommu/page-request.js';
import { Stage1, TableMemory } from '../../src/iommu/stage1.js';
import { READ, WRITE } from '../../src/mm/address-space.js';
import { allocatePlain } from '../../src/mm/frame-memory.js';
import { FlatMemory } from '../device/program.js';
import { errnoOf } from '../errno-of.js';

const PAGE = 0x100;
const { SUCCESS, INVALID } = PageResponse;

let device: IommuDevice;
let domain: Domain;
let queue: FaultQueue;
let memory: FlatMemory;
let port: DmaPort;

beforeEach(() => {
  memory = new FlatMemory(4);
  memory.bytes.fill(7);
  device = new IommuDevice({ address: '0000:00:01.0', stalls: true });
  domain = new Domain();
  device.attach(domain);
  queue = new FaultQueue(() => 1);
  device.handlers.register(queue, FaultReport.FLAT);
  device.enableIopf();
  port = new DmaPort(device, memory);
  port.enabled = true;
});

/** What the program reads: pages and cookies. */
function read(): { page: number; cookie: number }[] {
  const into = new Uint8Array(10 * HwptPgfault.size);
  const count = queue.read(into) / HwptPgfault.size;
  return Array.from({ length: count }, (_, i) => {
    const { addr, cookie } = readStruct(HwptPgfault, into.subarray(i * HwptPgfault.size));
    return { page: Number(addr) / 4096, cookie: Number(cookie) };
  });
}

function answer(code: PageResponseCode): void {
  const cookie = read()[0]!.cookie;
  queue.write(writeStruct(HwptPageResponse, { cookie, code }));
}

/** One page read by DMA from the middle of `PAGE`; the transfer as it stands. */
function readPage(buffer = allocatePlain(16)): object {
  const whole = port.readRange(PAGE * 4096 + 64, 16, buffer);
  return { whole, stalled: port.stalled, byte: buffer.bytes[0] };
}

function expectQuiet(): void {
  const { queue: pending, busy } = device;
  expect([pending.pendingCount, busy, queue.unread, queue.unanswered]).toEqual([0, false, 0, 0]);
}

describe('a fault queue on a flat table', () => {
  test('makes DMA stall until the program has mapped the page and answered SUCCESS', () => {
    expect(readPage()).toEqual({ whole: false, stalled: true, byte: 0 });
    expect([port.ready, device.queue.pendingCount, device.busy]).toEqual([false, 1, true]);
    readPage();
    expect(device.counters.faults).toBe(1);
    domain.map(PAGE, 2, 1, READ);
    answer(SUCCESS);
    expect(port.ready).toBe(true);
    expect(readPage()).toEqual({ whole: true, stalled: false, byte: 7 });
    expectQuiet();
    expect(device.counters.responsesSuccess).toBe(1);
  });

  test('asks again where the program answers SUCCESS and has mapped nothing', () => {
    readPage();
    answer(SUCCESS);
    expect(readPage()).toMatchObject({ whole: false, stalled: true });
    expect(read().map(({ page }) => page)).toEqual([PAGE]);
    expect(device.counters.faults).toBe(2);
  });

  test('INVALID refuses the access, also where the page is there by then', () => {
    readPage();
    domain.map(PAGE, 2, 1, READ);
    answer(INVALID);
    expect(readPage()).toEqual({ whole: false, stalled: false, byte: 0 });
    expectQuiet();
    expect(device.counters.responsesInvalid).toBe(1);
    expect(readPage()).toMatchObject({ whole: true });
  });

  test.each([
    ['is closed', () => queue.close()],
    ['asks no more', () => device.disableIopf()],
    ['is reset', () => device.reset()],
  ])('refuses what is unanswered when the queue or the device %s', (_what, end) => {
    readPage();
    read();
    end();
    expect(port.ready).toBe(true);
    expectQuiet();
    expect(device.counters.responsesInvalid).toBe(1);
    expect(readPage()).toMatchObject({ whole: false, stalled: false });
  });

  test('refuses at once after its end', () => {
    queue.close();
    expect(readPage()).toMatchObject({ whole: false, stalled: false });
    expectQuiet();
  });

  test('reports a write to a page that is there for reading only', () => {
    domain.map(PAGE, 0, 1, READ);
    expect(device.request(PAGE, READ)).toBeNull();
    const request = device.request(PAGE, WRITE)!;
    expect(request.result).toBeNull();
    answer(SUCCESS);
    expect(request.result).toBe(true);
  });

  test('refuses an access that cannot wait, and leaves nothing behind', () => {
    expect(device.fault(PAGE, READ)).toBe(false);
    expectQuiet();
    expect(device.counters.responsesInvalid).toBe(1);
  });

  test('ENODEV: a device that cannot stall gets none, and keeps its page tables free', () => {
    const rigid = new IommuDevice({ address: '0000:00:02.0' });
    expect(errnoOf(() => rigid.handlers.register(queue, FaultReport.FLAT))).toBe(Errno.ENODEV);
    expect(rigid.handlers.has(queue)).toBe(false);
  });
});

describe('R8.1: a fault queue below a first stage', () => {
  test('is asked for the page that the guest leads to', () => {
    const nested = new IommuDevice({ address: '0000:00:02.0', stalls: true });
    nested.attach(new Domain({ nested: true }));
    const table = new TableMemory(memory, allocatePlain);
    nested.attachStage1(new Stage1(PAGE, new FaultQueue(() => 2), table));
    nested.handlers.register(queue, FaultReport.STAGE2);
    nested.enableIopf();
    const request = nested.request(5, WRITE)!;
    expect(read().map(({ page }) => page)).toEqual([PAGE]);
    queue.close();
    expect(request.result).toBe(false);
    expect(nested.busy).toBe(false);
  });
});

/** Answers once it is told to, as the container's own handler does after a page-in. */
class SlowHandler implements DeviceFaultHandler {
  ready = false;

  answer(): typeof WAITS {
    return WAITS;
  }

  *handle(): Flow<PageResponseCode> {
    while (!this.ready) yield { what: 'its page', ready: () => this.ready };
    return SUCCESS;
  }

  pageLost(): void {}
}

describe('R5.6: a domain is replaced', () => {
  const other = () => {
    const to = new Domain();
    to.map(PAGE, 3, 1, READ | WRITE);
    return to;
  };

  test('in one step: translations, IOTLB and flushes are the new ones', () => {
    domain.map(PAGE, 2, 1, READ);
    expect(device.translate(PAGE, READ)).toBe(2);
    const to = other();
    runDirect(device.replace({ domain: to, handler: null, stage1: null }));
    expect([device.domain, device.translate(PAGE, READ)]).toEqual([to, 3]);
    expect([domain.devices, to.devices]).toEqual([[], [device]]);
    domain.unmap(PAGE, 1);
    expect(device.iotlb.lookup(PAGE, READ)).toBe(3);
    to.unmap(PAGE, 1);
    expect(device.translate(PAGE, READ)).toBe(-1);
  });

  test('what a program has not answered is INVALID, and its answer finds nothing', () => {
    readPage();
    const cookie = read()[0]!.cookie;
    runDirect(device.replace({ domain: other(), handler: null, stage1: null }));
    expectQuiet();
    expect(device.counters.responsesInvalid).toBe(1);
    const late = writeStruct(HwptPageResponse, { cookie, code: SUCCESS });
    expect(errnoOf(() => queue.write(late))).toBe(Errno.EINVAL);
    expect([device.handlers.flat, readPage()]).toEqual([
      null,
      { whole: false, stalled: false, byte: 0 },
    ]);
    expect(readPage()).toMatchObject({ whole: true });
  });

  test('waits for handlers of before, and not for requests of after', () => {
    const slow = new SlowHandler();
    device.handlers.flat = slow;
    const old = device.faultFlow(PAGE, READ);
    old.next();
    const flow = device.replace({ domain: new Domain(), handler: queue, stage1: null });
    const wait = flow.next().value!;
    // Between its steps the device is in its new domain already, and asks its new handler.
    expect([device.queue.pendingCount, device.counters.responsesInvalid]).toEqual([0, 1]);
    const after = device.request(PAGE, READ)!;
    expect([wait.ready(), after.result, device.handlersInside]).toEqual([false, null, 2]);
    slow.ready = true;
    expect(runDirect(old)).toBe(false);
    expect(wait.ready()).toBe(true);
    expect(flow.next().done).toBe(true);
    expect([device.queue.pendingCount, device.handlersInside]).toEqual([1, 1]);
    answer(SUCCESS);
    expect(after.result).toBe(true);
    expectQuiet();
    expect([device.counters.responsesInvalid, device.counters.responsesSuccess]).toEqual([1, 1]);
  });

  test('a nested domain comes with its handler and its first stage, and goes with them', () => {
    const nested = new Domain({ nested: true });
    const guest = new FaultQueue(() => 1);
    const stage1 = new Stage1(PAGE, guest, new TableMemory(memory, allocatePlain));
    const slow = new SlowHandler();
    runDirect(device.replace({ domain: nested, handler: slow, stage1 }));
    const { handlers } = device;
    expect([handlers.flat, handlers.stage1, handlers.stage2]).toEqual([null, guest, slow]);
    nested.map(PAGE, 0, 1, READ);
    memory.bytes.fill(0);
    const request = device.request(5, READ)!;
    expect([request.result, guest.unread]).toEqual([null, 1]);
    runDirect(device.replace({ domain, handler: queue, stage1: null }));
    expect([request.result, guest.unread, device.stage1]).toEqual([false, 0, null]);
    expect([handlers.flat, handlers.stage1, handlers.stage2]).toEqual([queue, null, null]);
  });

  test('EINVAL, ENODEV: nothing has changed', () => {
    const to = other();
    const stage1 = new Stage1(PAGE, queue, new TableMemory(memory, allocatePlain));
    const request = device.request(PAGE, READ)!;
    const replaced = (handler: DeviceFaultHandler | null, table: Stage1 | null): number =>
      errnoOf(() => runDirect(device.replace({ domain: to, handler, stage1: table })))!;
    expect(replaced(null, stage1)).toBe(Errno.EINVAL);
    device.stalls = false;
    expect(replaced(new FaultQueue(() => 2), null)).toBe(Errno.ENODEV);
    expect([device.domain, device.handlers.flat, request.result]).toEqual([domain, queue, null]);
    expect([domain.devices, to.devices, device.queue.pendingCount]).toEqual([[device], [], 1]);
  });
});
