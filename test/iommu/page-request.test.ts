import { beforeEach, describe, expect, test } from 'vitest';
import { Errno } from '../../src/abi/errno.js';
import { runDirect } from '../../src/flow/direct.js';
import type { Flow, Wait } from '../../src/flow/flow.js';
import { IommuDevice } from '../../src/iommu/device.js';
import { Domain } from '../../src/iommu/domain.js';
import { IommuGroup } from '../../src/iommu/group.js';
import type { Observer } from '../../src/iommu/observer.js';
import {
  type DeviceFaultHandler,
  EXEC,
  type Fault,
  FaultReport,
  NO_PASID,
  type PageRequestGroup,
  PageResponse,
  type PageResponseCode,
  PRIVILEGED,
} from '../../src/iommu/page-request.js';
import { READ, WRITE } from '../../src/mm/address-space.js';
import { errnoOf } from '../errno-of.js';

/** Answers what it is told to; groups wait until `open` is true. */
class TestHandler implements DeviceFaultHandler {
  open = true;
  code: PageResponseCode = PageResponse.SUCCESS;
  readonly groups: PageRequestGroup[] = [];
  private readonly wait: Wait = { what: 'the guest', ready: () => this.open };

  answer(): PageResponseCode {
    return this.code;
  }

  *handle(group: PageRequestGroup): Flow<PageResponseCode> {
    this.groups.push(group);
    while (!this.open) yield this.wait;
    return this.code;
  }

  pageLost(): void {}
}

const request = (over: Partial<Fault> = {}): Fault => ({
  kind: 'page-request',
  iovaPage: 0x100,
  access: READ,
  pasid: NO_PASID,
  group: 1,
  last: true,
  level: 'flat',
  ...over,
});

let device: IommuDevice;
let handler: TestHandler;
let answers: [number, number, number][];

beforeEach(() => {
  answers = [];
  const observer = {
    pageRequest: () => {},
    pageResponse: (_device: IommuDevice, pasid: number, group: number, code: number) =>
      answers.push([pasid, group, code]),
  } as unknown as Observer;
  device = new IommuDevice({
    address: '0000:76:00.0',
    observer,
    limits: { pendingGroups: 3, partialRequests: 4 },
  });
  device.attach(new Domain());
  handler = new TestHandler();
});

function ready(wants: number = FaultReport.FLAT): void {
  device.handlers.register(handler, wants);
  device.enableIopf();
}

describe('handlers', () => {
  const { FLAT, STAGE1, STAGE2 } = FaultReport;

  test('R1.2: FLAT together with NESTED is EINVAL, in one call or in two', () => {
    expect(errnoOf(() => device.handlers.register(handler, FLAT | STAGE1))).toBe(Errno.EINVAL);
    expect(errnoOf(() => device.handlers.register(handler, FLAT | STAGE2))).toBe(Errno.EINVAL);
    expect(errnoOf(() => device.handlers.register(handler, 0))).toBe(Errno.EINVAL);
    expect(device.handlers.has(handler)).toBe(false);
    device.handlers.register(handler, FLAT);
    expect(errnoOf(() => device.handlers.register(new TestHandler(), STAGE2))).toBe(Errno.EINVAL);
  });

  test('R1.2: a second handler for a page table is EBUSY, one for the other stage is welcome', () => {
    device.handlers.register(handler, STAGE2);
    expect(errnoOf(() => device.handlers.register(new TestHandler(), STAGE2))).toBe(Errno.EBUSY);
    const guest = new TestHandler();
    device.handlers.register(guest, STAGE1);
    expect(device.handlers.at('stage1')).toBe(guest);
    expect(device.handlers.at('stage2')).toBe(handler);
    device.handlers.unregister(guest);
    expect(device.handlers.at('stage1')).toBeNull();
    expect(device.handlers.at('stage2')).toBe(handler);
    expect(errnoOf(() => device.handlers.unregister(guest))).toBe(Errno.EINVAL);
  });

  test.each([
    ['none', 0, [2, 4, 6], [], [3, 5, 7, 8, 9]],
    ['FLAT', FLAT, [], [1], [2, 3, 4, 5, 6, 7]],
    ['STAGE1', STAGE1, [4], [2, 6], [1, 3, 5]],
    ['STAGE2', STAGE2, [2], [4, 6], [1, 3, 5]],
  ])(
    'R1.2: beside one for %s a handler is taken, EBUSY or EINVAL by what it wants',
    (_what, had, taken, busy, invalid) => {
      const register = (wants: number) => {
        device.handlers.flat = had === FLAT ? handler : null;
        device.handlers.stage1 = had === STAGE1 ? handler : null;
        device.handlers.stage2 = had === STAGE2 ? handler : null;
        const other = new TestHandler();
        const { handlers } = device;
        const errno = errnoOf(() => handlers.register(other, wants));
        const flat = handlers.flat === other ? FLAT : 0;
        const stage1 = handlers.stage1 === other ? STAGE1 : 0;
        const stage2 = handlers.stage2 === other ? STAGE2 : 0;
        expect(flat | stage1 | stage2).toBe(errno === 0 ? wants : 0);
        return errno;
      };
      expect(taken.map(register)).toEqual(taken.map(() => 0));
      expect(busy.map(register)).toEqual(busy.map(() => Errno.EBUSY));
      expect(invalid.map(register)).toEqual(invalid.map(() => Errno.EINVAL));
    },
  );

  test('the feature: ENODEV where the device cannot, EBUSY where it is on', () => {
    const plain = new IommuDevice({ address: '0000:00:00.0', canFault: false });
    expect(errnoOf(() => plain.enableIopf())).toBe(Errno.ENODEV);
    device.enableIopf();
    expect(errnoOf(() => device.enableIopf())).toBe(Errno.EBUSY);
  });

  test('a group knows its devices, and a device its group', () => {
    const group = new IommuGroup(138);
    group.add(device);
    expect(device.group?.number).toBe(138);
    expect(() => group.add(device)).toThrow('already');
  });
});

describe('reporting', () => {
  test('R1.1: a page request group with partial requests reaches the handler whole and is answered once', () => {
    ready();
    expect(runDirect(device.report(request({ iovaPage: 1, last: false })))).toEqual({
      errno: 0,
      code: null,
    });
    expect(runDirect(device.report(request({ iovaPage: 9, group: 2 })))).toEqual({
      errno: 0,
      code: 0,
    });
    expect(runDirect(device.report(request({ iovaPage: 2, last: false, access: WRITE })))).toEqual({
      errno: 0,
      code: null,
    });
    expect(runDirect(device.report(request({ iovaPage: 3 })))).toEqual({ errno: 0, code: 0 });
    expect(handler.groups.map((group) => group.requests.map((fault) => fault.iovaPage))).toEqual([
      [9],
      [1, 2, 3],
    ]);
    expect(answers).toEqual([
      [NO_PASID, 2, PageResponse.SUCCESS],
      [NO_PASID, 1, PageResponse.SUCCESS],
    ]);
    expect(device.queue.partialCount).toBe(0);
  });

  test('R1.1: every field of a request reaches the handler as it was reported', () => {
    ready();
    const access = READ | WRITE | EXEC | PRIVILEGED;
    const first = request({ iovaPage: 7, access, pasid: 0xfffff, group: 511, last: false });
    const last = request({ iovaPage: 2 ** 40, access: WRITE, pasid: 0xfffff, group: 511 });
    runDirect(device.report(first));
    runDirect(device.report(last));
    expect(handler.groups).toEqual([
      { device, pasid: 0xfffff, group: 511, level: 'flat', requests: [first, last] },
    ]);
    expect(answers).toEqual([[0xfffff, 511, PageResponse.SUCCESS]]);
  });

  test('R1.1: requests of another PASID are another group', () => {
    ready();
    runDirect(device.report(request({ iovaPage: 1, pasid: 7, last: false })));
    runDirect(device.report(request({ iovaPage: 2, pasid: 8 })));
    expect(handler.groups[0]!.requests.map((fault) => fault.iovaPage)).toEqual([2]);
    expect(device.queue.partialCount).toBe(1);
  });

  test('R1.1: an unrecoverable fault is EOPNOTSUPP and is not answered', () => {
    ready();
    expect(runDirect(device.report(request({ kind: 'unrecoverable' })))).toEqual({
      errno: Errno.EOPNOTSUPP,
      code: null,
    });
    expect(answers).toEqual([]);
  });

  test('R1.3: a level that no one asked for is EOPNOTSUPP and answered INVALID, and reporting goes on', () => {
    ready();
    for (const level of ['stage1', 'stage2'] as const) {
      expect(runDirect(device.report(request({ level })))).toEqual({
        errno: Errno.EOPNOTSUPP,
        code: PageResponse.INVALID,
      });
    }
    expect(answers).toEqual([
      [NO_PASID, 1, PageResponse.INVALID],
      [NO_PASID, 1, PageResponse.INVALID],
    ]);
    expect(device.counters.faultsRefused).toBe(2);
    expect(runDirect(device.report(request())).code).toBe(PageResponse.SUCCESS);
  });

  test('R1.3: with the feature off nothing reaches the handler', () => {
    device.handlers.register(handler, FaultReport.FLAT);
    expect(device.fault(1, READ)).toBe(false);
    expect(runDirect(device.faultFlow(1, READ))).toBe(false);
    expect(runDirect(device.report(request())).errno).toBe(Errno.EOPNOTSUPP);
    expect(handler.groups).toEqual([]);
  });

  test('R1.2: on a nested device each stage goes to its own handler', () => {
    device.detach();
    device.attach(new Domain({ nested: true }));
    ready(FaultReport.STAGE2);
    const guest = new TestHandler();
    device.handlers.register(guest, FaultReport.STAGE1);
    runDirect(device.report(request({ level: 'stage1', pasid: 3 })));
    runDirect(device.report(request({ level: 'stage2' })));
    expect(guest.groups.map((group) => group.level)).toEqual(['stage1']);
    expect(handler.groups.map((group) => group.level)).toEqual(['stage2']);
    expect(runDirect(device.report(request())).errno).toBe(Errno.EOPNOTSUPP);
  });

  test('a page number that is none is EINVAL', () => {
    ready();
    expect(runDirect(device.report(request({ iovaPage: 0.5 }))).errno).toBe(Errno.EINVAL);
    expect(handler.groups).toEqual([]);
  });
});

test('an observer hears of a request as the device made it: a plain one ends its group', () => {
  const heard: unknown[] = [];
  device.observer = {
    pageRequest: (_device: IommuDevice, ...values: unknown[]) => heard.push(values),
    pageResponse: () => {},
  } as unknown as Observer;
  ready();
  device.fault(5, WRITE);
  runDirect(device.report(request({ iovaPage: 6, pasid: 7, group: 9, last: false })));
  runDirect(device.faultFlow(8, READ));
  expect(heard).toEqual([
    [5, WRITE, NO_PASID, 0, true],
    [6, READ, 7, 9, false],
    [8, READ, NO_PASID, 1, true],
  ]);
});

test('R1.3: a request that nobody handles, or of a device that may not ask, is no fault', () => {
  device.enableIopf();
  const ask = () => [device.fault(1, READ), runDirect(device.faultFlow(1, READ))];
  expect(ask()).toEqual([false, false]);
  device.disableIopf();
  device.handlers.register(handler, FaultReport.FLAT);
  expect(ask()).toEqual([false, false]);
  const { faults, faultsRefused, faultLatency } = device.counters;
  expect([faults, faultsRefused, faultLatency.count, answers]).toEqual([0, 4, 0, []]);
  expect([device.dmaBytesRead, device.dmaBytesWritten]).toEqual([0, 0]);
});

test('a device asks a program where one answers at any of its levels', () => {
  const program = Object.assign(new TestHandler(), { abandoned: () => {} });
  const asks = (['flat', 'stage1', 'stage2'] as const).map((level) => {
    Object.assign(device.handlers, { flat: handler, stage1: handler, stage2: handler });
    const before = device.asksProgram;
    device.handlers[level] = program;
    return [before, device.asksProgram];
  });
  expect(asks).toEqual([
    [false, true],
    [false, true],
    [false, true],
  ]);
});

test('a lost page is told to the handler, the first of all too', () => {
  ready();
  const lost: number[] = [];
  handler.pageLost = (_device?: unknown, page?: number) => void lost.push(page!);
  for (const page of [0, 5]) device.pageLost(page);
  expect(lost).toEqual([0, 5]);
});

test('a lost page leaves the IOTLB of a device that nobody answers, too', () => {
  device.domain!.map(5, 9, 2, READ);
  for (const page of [5, 6]) device.translate(page, READ);
  device.pageLost(5);
  expect([5, 6].map((page) => device.iotlb.lookup(page, READ))).toEqual([-1, 10]);
});

describe('answers', () => {
  test('R1.4: an answer that matches no device, PASID and group is EINVAL and counted', () => {
    ready();
    handler.open = false;
    const flow = device.report(request({ pasid: 5, group: 9 }));
    flow.next();
    expect(device.queue.pendingCount).toBe(1);
    expect(errnoOf(() => device.respond(5, 8, PageResponse.SUCCESS))).toBe(Errno.EINVAL);
    expect(errnoOf(() => device.respond(NO_PASID, 9, PageResponse.SUCCESS))).toBe(Errno.EINVAL);
    expect(device.counters.responsesUnmatched).toBe(2);
    expect(answers).toEqual([]);
    handler.open = true;
    expect(runDirect(flow).code).toBe(PageResponse.SUCCESS);
    expect(answers).toEqual([[5, 9, PageResponse.SUCCESS]]);
    expect(errnoOf(() => device.respond(5, 9, PageResponse.SUCCESS))).toBe(Errno.EINVAL);
  });

  test.each([PageResponse.SUCCESS, PageResponse.INVALID, PageResponse.FAILURE])(
    'R1.4: what the handler comes to (%i) is the answer, once, and is counted as that',
    (code) => {
      ready();
      handler.code = code;
      expect(runDirect(device.report(request({ group: 3 })))).toEqual({ errno: 0, code });
      expect(answers).toEqual([[NO_PASID, 3, code]]);
      const { responsesSuccess, responsesInvalid, responsesFailure } = device.counters;
      expect(
        [responsesSuccess, responsesInvalid, responsesFailure].map(
          (count, at) => count === (at === code ? 1 : 0),
        ),
      ).toEqual([true, true, true]);
      expect(device.queue.pendingCount).toBe(0);
      expect(device.fault(1, READ)).toBe(code === PageResponse.SUCCESS);
    },
  );

  test('R1.4: a group whose name is pending already is refused, and the pending one is answered once', () => {
    ready();
    handler.open = false;
    const flow = device.report(request());
    flow.next();
    expect(runDirect(device.report(request())).errno).toBe(Errno.EINVAL);
    handler.open = true;
    runDirect(flow);
    expect(handler.groups.length).toBe(1);
  });

  test('R1.4: a request above the pending limit is answered SUCCESS, once, so that the device asks again', () => {
    ready();
    handler.open = false;
    const flows = [1, 2, 3].map((group) => device.report(request({ group })));
    for (const flow of flows) flow.next();
    expect(runDirect(device.report(request({ group: 4 })))).toEqual({
      errno: 0,
      code: PageResponse.SUCCESS,
    });
    expect(answers).toEqual([[NO_PASID, 4, PageResponse.SUCCESS]]);
    expect(device.fault(1, READ)).toBe(true);
    expect(runDirect(device.faultFlow(1, READ))).toBe(true);
    expect(device.counters.requestsOverflowed).toBe(3);
    // What did not get into the queue nobody saw.
    expect([device.counters.faults, answers.length]).toEqual([4, 1]);
    expect(handler.groups.length).toBe(3);
    handler.open = true;
    for (const flow of flows) runDirect(flow);
    expect(device.queue.pendingCount).toBe(0);
    expect([device.counters.faults, answers.length]).toEqual([4, 4]);
  });

  test('R1.4: requests that come one by one get ids that no pending group has', () => {
    ready();
    handler.open = false;
    const first = device.faultFlow(1, READ);
    first.next();
    const taken = answers.length;
    for (let i = 0; i < 600; i++) expect(device.fault(2, READ)).toBe(true);
    expect(new Set(answers.slice(taken).map(([, group]) => group)).size).toBe(511);
    expect(answers.slice(taken).some(([, group]) => group === 0)).toBe(false);
    handler.open = true;
    expect(runDirect(first)).toBe(true);
  });

  test('partial requests above their limit are refused with ENOSPC', () => {
    ready();
    for (let i = 0; i < 4; i++) runDirect(device.report(request({ last: false, iovaPage: i })));
    expect(runDirect(device.report(request({ last: false }))).errno).toBe(Errno.ENOSPC);
    expect(device.queue.partialCount).toBe(4);
  });
});

describe('drain', () => {
  test('R1.5, R5.6: it waits for the answers that are due and takes no new requests', () => {
    ready();
    handler.open = false;
    const pending = device.report(request());
    pending.next();
    runDirect(device.report(request({ group: 2, last: false })));
    device.disableIopf();
    const drain = device.drain();
    expect(drain.next().value?.ready()).toBe(false);
    expect(device.fault(1, READ)).toBe(false);
    expect(() => device.detach()).toThrow('faults');
    handler.open = true;
    expect(runDirect(pending).code).toBe(PageResponse.SUCCESS);
    expect(drain.next().done).toBe(true);
    expect(device.counters.partialsDiscarded).toBe(1);
    device.handlers.unregister(handler);
    device.detach();
    expect(device.domain).toBeNull();
  });

  test('draining with page requests on is a bug of the caller', () => {
    ready();
    expect(() => runDirect(device.drain())).toThrow('page requests on');
  });
});
