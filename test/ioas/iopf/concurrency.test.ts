import { beforeEach, describe, expect, test } from 'vitest';
import { Errno } from '../../../src/abi/errno.js';
import { runDirect } from '../../../src/flow/direct.js';
import type { Flow, Wait } from '../../../src/flow/flow.js';
import type { IommuDevice } from '../../../src/iommu/device.js';
import { READ, WRITE } from '../../../src/mm/address-space.js';
import { RW, TestContainer } from './container.js';

const IOVA = 0x1000;
const VADDR = 0x7f000;

/** Runs a flow until it waits for something that contains `what`; throws where it ends before. */
function runUntil<T>(flow: Flow<T>, what: string): void {
  for (;;) {
    const step = flow.next();
    if (step.done) throw new Error(`ended before ${what}`);
    if (step.value.what.includes(what)) return;
  }
}

let container: TestContainer;
let device: IommuDevice;

beforeEach(() => {
  // Pages that are in swap must be waited for.
  container = new TestContainer({ space: { swapInWaits: true } });
  container.mm.mmap(VADDR, 16, { kind: 'anon', protection: RW });
  container.mm.fillPages(VADDR, 16, 0xab);
  device = container.attach();
  runDirect(container.iopf.enable());
});

function pageOut(page: number): void {
  container.mm.pageOut(VADDR + page, 1);
  expect(container.mm.frameAt(VADDR + page)).toBe(-1);
}

describe('page requests beside each other', () => {
  test('a page that is not at hand is waited for, and the direct runner gets there too', () => {
    container.map(IOVA, 16, VADDR);
    pageOut(3);
    expect(device.fault(IOVA + 3, WRITE)).toBe(true);
    expect(device.translate(IOVA + 3, WRITE)).toBe(container.mm.frameAt(VADDR + 3));
  });

  test('R2.1: memory that the process may only read is granted for reading, waited for or not', () => {
    container.map(IOVA, 16, VADDR);
    container.mm.mprotect(VADDR + 2, 2, READ);
    pageOut(3);
    for (const page of [IOVA + 2, IOVA + 3]) {
      expect(runDirect(device.faultFlow(page, READ))).toBe(true);
      expect(device.translate(page, READ)).toBeGreaterThanOrEqual(0);
      expect(device.translate(page, WRITE)).toBe(-1);
      expect(runDirect(device.faultFlow(page, WRITE))).toBe(false);
    }
  });

  test('memory that is gone is refused where no page can be waited for', () => {
    Object.defineProperty(container.mm, 'pageInFlow', { value: undefined });
    container.map(IOVA, 16, VADDR);
    container.mm.munmap(VADDR + 2, 1);
    for (const access of [READ, WRITE])
      expect(runDirect(device.faultFlow(IOVA + 2, access))).toBe(false);
    expect(container.counters.responsesInvalid).toBe(2);
  });

  test('R2.3: two faults on one page share one page-in and each gets its answer', () => {
    container.map(IOVA, 16, VADDR);
    pageOut(3);
    const first = device.faultFlow(IOVA + 3, WRITE);
    const second = device.faultFlow(IOVA + 3, READ);
    runUntil(first, 'swap-in');
    runUntil(second, `page-in of IOVA page ${IOVA + 3}`);
    expect(device.queue.pendingCount).toBe(2);
    expect(runDirect(first)).toBe(true);
    expect(runDirect(second)).toBe(true);
    expect(container.counters.pagesFaultedIn).toBe(1);
    expect(container.counters.responsesSuccess).toBe(2);
    expect(device.queue.pendingCount).toBe(0);
  });

  test('R2.3: who waits for the page-in of another is ready when that has ended, and not before', () => {
    container.map(IOVA, 16, VADDR);
    pageOut(3);
    const first = device.faultFlow(IOVA + 3, WRITE);
    const second = device.faultFlow(IOVA + 3, READ);
    runUntil(first, 'swap-in');
    second.next();
    const wait = second.next().value as Wait;
    expect([wait.what, wait.ready()]).toEqual([`page-in of IOVA page ${IOVA + 3}`, false]);
    runDirect(first);
    expect(wait.ready()).toBe(true);
    expect(runDirect(second)).toBe(true);
  });

  test('R2.3: faults on different pages proceed at once', () => {
    container.map(IOVA, 16, VADDR);
    pageOut(3);
    const slow = device.faultFlow(IOVA + 3, WRITE);
    runUntil(slow, 'swap-in');
    expect(device.fault(IOVA + 4, WRITE)).toBe(true);
    expect(runDirect(device.faultFlow(IOVA + 5, WRITE))).toBe(true);
    expect(device.translate(IOVA + 3, READ)).toBe(-1);
    expect(runDirect(slow)).toBe(true);
  });

  test('R3.3: a page-in goes on where pages go that lie beside those it brings', () => {
    const container = new TestContainer({ premapPages: 4, space: { swapInWaits: true } });
    const { mm } = container;
    mm.mmap(VADDR, 16, { kind: 'anon', protection: RW });
    mm.fillPages(VADDR, 16, 0xab);
    const device = container.attach();
    runDirect(container.iopf.enable());
    container.map(IOVA, 16, VADDR);
    mm.pageOut(VADDR + 3, 1);
    let begun = 0;
    const pageIn = mm.pageInFlow.bind(mm);
    mm.pageInFlow = (...given) => {
      begun++;
      return pageIn(...given);
    };
    const fault = device.faultFlow(IOVA + 3, WRITE);
    runUntil(fault, 'swap-in');
    mm.munmap(VADDR + 2, 1);
    mm.munmap(VADDR + 7, 2);
    expect(runDirect(fault)).toBe(true);
    expect(begun).toBe(1);
    expect([3, 6, 7].map((page) => device.translate(IOVA + page, READ) >= 0)).toEqual([
      true,
      true,
      false,
    ]);
  });

  test('R2.3: where the first of two faults on a page is refused, the second finds out by itself', () => {
    container.map(IOVA, 16, VADDR);
    pageOut(3);
    container.mm.mprotect(VADDR + 3, 1, READ);
    const first = device.faultFlow(IOVA + 3, WRITE);
    const second = device.faultFlow(IOVA + 3, READ);
    first.next();
    first.next();
    runUntil(second, 'page-in of IOVA page');
    expect(runDirect(first)).toBe(false);
    expect(runDirect(second)).toBe(true);
  });
});

describe('R3.3: an invalidation that races with a page-in makes it start again', () => {
  /** Runs a page request up to just before it maps what it got. */
  function almostDone(page: number): Flow<boolean> {
    const flow = device.faultFlow(IOVA + page, WRITE);
    runUntil(flow, 'step');
    runUntil(flow, 'step');
    return flow;
  }

  test('the page that comes back is the new one', () => {
    container.map(IOVA, 16, VADDR);
    const flow = almostDone(3);
    container.mm.migrate(VADDR + 3, 1);
    expect(runDirect(flow)).toBe(true);
    expect(device.translate(IOVA + 3, WRITE)).toBe(container.mm.frameAt(VADDR + 3));
    expect(container.counters.pageInsRetried).toBe(1);
  });

  test('a page of its window that goes makes it start again, too', () => {
    const wide = new TestContainer({ premapPages: 4 });
    wide.mm.mmap(VADDR, 16, { kind: 'anon', protection: RW });
    const user = wide.attach();
    runDirect(wide.iopf.enable());
    wide.map(IOVA, 16, VADDR);
    const flow = user.faultFlow(IOVA + 3, WRITE);
    runUntil(flow, 'frames are at hand');
    wide.mm.dontNeed(VADDR + 6, 1);
    expect(runDirect(flow)).toBe(true);
    expect(user.translate(IOVA + 6, WRITE)).toBe(wide.mm.frameAt(VADDR + 6));
    expect(wide.counters.pageInsRetried).toBe(1);
  });

  test('a page that is gone for good is refused', () => {
    container.map(IOVA, 16, VADDR);
    const flow = almostDone(3);
    container.mm.munmap(VADDR + 3, 1);
    expect(runDirect(flow)).toBe(false);
    expect(device.translate(IOVA + 3, READ)).toBe(-1);
  });

  test('a mapping that is unmapped meanwhile is not revived, another one in its place is used', () => {
    const mapping = container.map(IOVA, 16, VADDR);
    let flow = almostDone(3);
    container.unmap(mapping);
    expect(runDirect(flow)).toBe(false);
    expect(device.domain!.pages).toBe(0);
    container.map(IOVA, 16, VADDR);
    flow = almostDone(3);
    container.unmap(container.mappings.covering(IOVA)!);
    const other = container.map(IOVA, 8, VADDR + 8);
    expect(runDirect(flow)).toBe(true);
    expect(device.translate(IOVA + 3, WRITE)).toBe(container.mm.frameAt(VADDR + 11));
    expect(other.mapped.count).toBe(1);
  });

  test('a mapping that gets another address meanwhile leads there', () => {
    const mapping = container.map(IOVA, 4, VADDR);
    const flow = almostDone(3);
    container.space.invalidateVaddr(mapping);
    container.space.move(mapping, container.mm, VADDR + 8);
    expect(runDirect(flow)).toBe(true);
    expect(device.translate(IOVA + 3, WRITE)).toBe(container.mm.frameAt(VADDR + 11));
  });

  test('a mapping whose address leads nowhere meanwhile is refused', () => {
    const mapping = container.map(IOVA, 4, VADDR);
    const flow = almostDone(3);
    container.space.invalidateVaddr(mapping);
    expect(runDirect(flow)).toBe(false);
    expect([device.domain!.pages, mapping.mapped.count]).toEqual([0, 0]);
  });

  test('a request by itself tells what it relies on, one of a group does not', () => {
    container.map(IOVA, 4, VADDR);
    const waits = (flow: Flow<unknown>) => {
      const found: Wait[] = [];
      for (let step = flow.next(); !step.done; step = flow.next()) found.push(step.value);
      return found.map(({ what, reliesOn }) => [
        what.replace('step: ', ''),
        reliesOn === undefined,
      ]);
    };
    const request = { kind: 'page-request', pasid: 3, group: 9, level: 'flat' } as const;
    runDirect(device.report({ ...request, iovaPage: IOVA, access: READ, last: false }));
    const last = { ...request, iovaPage: IOVA + 1, access: READ, last: true };
    expect(waits(device.faultFlow(IOVA + 2, READ))).toEqual([
      ['page request reported', false],
      ['frames are at hand', false],
    ]);
    expect(waits(device.report(last))).toEqual([
      ['page request of a group reported', true],
      ['frames are at hand', true],
      ['page request of a group reported', true],
      ['frames are at hand', true],
    ]);
  });

  test('a dirty log that starts meanwhile gets its page', () => {
    const mapping = container.map(IOVA, 16, VADDR);
    const read = device.faultFlow(IOVA + 3, READ);
    runUntil(read, 'step');
    runUntil(read, 'step');
    const log = container.log();
    expect(runDirect(read)).toBe(true);
    expect(device.translate(IOVA + 3, WRITE)).toBe(-1);
    expect(log.of(mapping).count).toBe(0);
    const write = almostDone(4);
    container.space.restartLog(log, mapping);
    runDirect(write);
    expect(log.of(mapping).test(4)).toBe(true);
    expect(container.counters.pageInsRetried).toBe(2);
  });
});

test('R6.3: a page-in that spans the end of the dirty log grants all that the mapping allows', () => {
  container.map(IOVA, 16, VADDR);
  const log = container.log();
  const read = device.faultFlow(IOVA + 3, READ);
  runUntil(read, 'frames are at hand');
  container.space.stopLog(log);
  expect(runDirect(read)).toBe(true);
  expect(device.domain!.permissionAt(IOVA + 3)).toBe(RW);
  expect(container.counters.pageInsRetried).toBe(1);
});

test('R4.1, R6.3: a window does not reach over a page that another fault has mapped meanwhile', () => {
  const wide = new TestContainer({ premapPages: 4 });
  wide.mm.mmap(VADDR, 16, { kind: 'anon', protection: RW });
  const user = wide.attach();
  runDirect(wide.iopf.enable());
  const mapping = wide.map(IOVA, 16, VADDR);
  wide.log();
  wide.mm.fillPages(VADDR, 16, 1);
  const read = user.faultFlow(IOVA + 3, READ);
  runUntil(read, 'step');
  runUntil(read, 'step');
  user.fault(IOVA + 5, WRITE);
  runDirect(read);
  expect([3, 4, 5, 6].map((page) => user.domain!.permissionAt(IOVA + page))).toEqual([
    READ,
    READ,
    RW,
    0,
  ]);
  expect(mapping.mapped.count).toBe(3);
});

describe('R5.6: control paths beside page requests', () => {
  test('detach waits until the handler that is inside has left and its request is answered', () => {
    container.map(IOVA, 16, VADDR);
    pageOut(3);
    const fault = device.faultFlow(IOVA + 3, WRITE);
    runUntil(fault, 'swap-in');
    const detach = container.iopf.devicesDetaching([device]);
    runUntil(detach, 'drain of 0000:00:01.0');
    expect(device.handlers.flat).toBe(container.iopf.handler);
    expect(device.fault(IOVA, READ)).toBe(false);
    expect(runDirect(fault)).toBe(true);
    runDirect(detach);
    expect(device.handlers.flat).toBeNull();
    device.detach();
    expect(container.counters.responsesSuccess).toBe(1);
  });

  test('R2.2, R5.6: the backend that a handler works on stays until it has left, whatever else of its container goes', () => {
    const mapping = container.map(IOVA, 16, VADDR);
    const second = container.attach();
    pageOut(3);
    const fault = device.faultFlow(IOVA + 3, WRITE);
    runUntil(fault, 'swap-in');
    const detach = container.iopf.devicesDetaching([device]);
    runUntil(detach, 'drain');
    // Its mapping goes meanwhile, and other devices fault on.
    expect(second.fault(IOVA + 4, WRITE)).toBe(true);
    container.unmap(mapping);
    expect(detach.next().done).toBe(false);
    expect(device.domain).not.toBeNull();
    expect(runDirect(fault)).toBe(false);
    expect(runDirect(detach)).toBeUndefined();
    expect([device.handlers.flat, device.queue.pendingCount, device.handlersInside]).toEqual([
      null,
      0,
      0,
    ]);
    expect([device.domain!.pages, second.domain!.pages, container.counters.residentPages]).toEqual([
      0, 0, 0,
    ]);
    expect(second.handlers.flat).toBe(container.iopf.handler);
  });

  test('R5.3: roll-back goes over all that the call switched on, also where a device must be drained first', () => {
    const container = new TestContainer({ space: { swapInWaits: true } });
    container.mm.mmap(VADDR, 16, { kind: 'anon', protection: RW });
    container.mm.fillPages(VADDR, 16, 0xab);
    const [first, second] = [container.attach(), container.attach()];
    container.attach({ canFault: false });
    const mapping = container.map(IOVA, 4, VADDR);
    const enable = container.iopf.enable();
    while (!second.iopfEnabled) enable.next();
    // A page that no mapping has would be refused at once: it is held up on its way.
    const fault = second.faultFlow(IOVA + 9, WRITE);
    runUntil(fault, 'page request reported');
    runUntil(enable, 'drain of 0000:00:02.0');
    expect([first.iopfEnabled, second.iopfEnabled]).toEqual([true, false]);
    expect(second.handlers.flat).toBe(container.iopf.handler);
    expect(runDirect(fault)).toBe(false);
    expect(() => runDirect(enable)).toThrow(expect.objectContaining({ errno: Errno.ENODEV }));
    for (const device of [first, second]) {
      expect([device.iopfEnabled, device.handlers.flat, device.busy]).toEqual([false, null, false]);
    }
    expect([container.counters.responsesInvalid, container.iopf.enabled, mapping.pinned]).toEqual([
      1,
      false,
      true,
    ]);
    expect([container.mm.lockedPages, container.mm.notifierCount]).toEqual([4, 0]);
  });

  test('R5.10: disable answers what is pending from the pages that it pinned', () => {
    const mapping = container.map(IOVA, 16, VADDR);
    pageOut(3);
    const fault = device.faultFlow(IOVA + 3, WRITE);
    runUntil(fault, 'swap-in');
    const disable = container.iopf.disable();
    runUntil(disable, 'drain');
    expect(mapping.pinned).toBe(true);
    expect(runDirect(fault)).toBe(true);
    runDirect(disable);
    expect(device.translate(IOVA + 3, WRITE)).toBe(container.mm.frameAt(VADDR + 3));
    expect(mapping.mapped.count).toBe(0);
    expect(container.mm.lockedPages).toBe(16);
  });

  test('control paths of one container keep each other out', () => {
    const second = new TestContainer();
    const one = second.attach();
    const enable = second.iopf.enable();
    runUntil(enable, 'step');
    const disable = second.iopf.disable();
    runUntil(disable, 'container');
    runDirect(enable);
    expect(one.iopfEnabled).toBe(true);
    runDirect(disable);
    expect(one.iopfEnabled).toBe(false);
  });

  test('R5.6: a device leaves when the ENABLE that is under way has come to its end', () => {
    const second = new TestContainer();
    const [one, other] = [second.attach(), second.attach()];
    const enable = second.iopf.enable();
    while (!one!.iopfEnabled) enable.next();
    const detach = second.iopf.devicesDetaching([one!]);
    const wait = detach.next().value as Wait;
    expect([wait.what.includes('container'), wait.ready(), one!.iopfEnabled]).toEqual([
      ...[true, false, true],
    ]);
    runDirect(enable);
    runDirect(detach);
    expect([one!.iopfEnabled, other!.iopfEnabled]).toEqual([false, true]);
    expect(second.iopf.enabledDevices).toEqual([other]);
  });

  test('R5.11: the end of a space waits for the ENABLE that is under way', () => {
    const second = new TestContainer();
    const one = second.attach();
    const enable = second.iopf.enable();
    while (!one.iopfEnabled) enable.next();
    const release = second.iopf.release();
    expect((release.next().value as Wait).ready()).toBe(false);
    runDirect(enable);
    runDirect(release);
    expect([one.iopfEnabled, one.handlers.flat, second.iopf.enabled]).toEqual([false, null, false]);
  });

  test('R5.5: a device that comes during ENABLE is switched on once, when that has ended', () => {
    const second = new TestContainer();
    const one = second.attach();
    const late = second.attach();
    const enable = second.iopf.enable();
    while (!one.iopfEnabled) enable.next();
    const attach = second.iopf.devicesAttached([late]);
    expect((attach.next().value as Wait).ready()).toBe(false);
    runDirect(enable);
    runDirect(attach);
    expect(second.iopf.enabledDevices).toEqual([one, late]);
  });

  test('R5.2: a fault during ENABLE finds a handler, and is refused before there is one', () => {
    const second = new TestContainer();
    second.mm.mmap(VADDR, 4, { kind: 'anon', protection: RW });
    const devices = [second.attach(), second.attach()];
    second.map(IOVA, 4, VADDR);
    const enable = second.iopf.enable();
    for (let step = enable.next(); !step.done; step = enable.next()) {
      for (const at of devices) {
        if (at.iopfEnabled) expect(at.handlers.flat).not.toBeNull();
        expect(at.fault(IOVA + 4, READ)).toBe(false);
        expect(at.fault(IOVA, WRITE)).toBe(at.iopfEnabled);
        expect(at.translate(IOVA, WRITE)).toBe(second.mm.frameAt(VADDR));
      }
    }
    expect(second.iopf.enabled).toBe(true);
  });
});
