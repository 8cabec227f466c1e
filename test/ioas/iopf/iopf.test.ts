import { beforeEach, describe, expect, test } from 'vitest';
import { Errno } from '../../../src/abi/errno.js';
import { runDirect } from '../../../src/flow/direct.js';
import type { DirtyLog } from '../../../src/ioas/dirty-log.js';
import { ResidentPages } from '../../../src/ioas/iopf/resident.js';
import type { Mapping } from '../../../src/ioas/mapping.js';
import { IommuDevice } from '../../../src/iommu/device.js';
import { Counters } from '../../../src/iommu/observer.js';
import { EXEC, FaultReport, PageResponse, PRIVILEGED } from '../../../src/iommu/page-request.js';
import { READ, WRITE } from '../../../src/mm/address-space.js';
import { SimulatedSpace } from '../../../src/mm/simulated.js';
import { errnoOf } from '../../errno-of.js';
import { RW, TestContainer } from './container.js';

const IOVA = 0x1000;
const VADDR = 0x7f000;

describe('faulting pages in', () => {
  let container: TestContainer;
  let device: IommuDevice;

  beforeEach(() => {
    container = new TestContainer();
    container.mm.mmap(VADDR, 64, { kind: 'anon', protection: RW });
    device = container.attach();
    runDirect(container.iopf.enable());
  });

  test('R6.1: MAP_DMA on an enabled container pins and maps nothing', () => {
    container.map(IOVA, 64, VADDR);
    expect(container.memory.pinned).toBe(0);
    expect(container.mm.lockedPages).toBe(0);
    expect(device.domain!.pages).toBe(0);
    expect(device.translate(IOVA, READ)).toBe(-1);
  });

  test('R2.1: a page request maps the page that the process has, in every domain, and sets its bit', () => {
    const second = container.attach();
    const mapping = container.map(IOVA, 64, VADDR);
    expect(device.fault(IOVA + 3, WRITE)).toBe(true);
    expect(device.translate(IOVA + 3, WRITE)).toBe(container.mm.frameAt(VADDR + 3));
    expect(second.translate(IOVA + 3, WRITE)).toBe(container.mm.frameAt(VADDR + 3));
    expect(mapping.mapped.test(3)).toBe(true);
    expect(mapping.mapped.count).toBe(1);
    expect(container.counters.residentPages).toBe(1);
  });

  test('R2.1: a page that is mapped already is answered SUCCESS and nothing changes', () => {
    container.map(IOVA, 64, VADDR);
    device.fault(IOVA, WRITE);
    const frame = device.translate(IOVA, WRITE);
    expect(device.fault(IOVA, WRITE)).toBe(true);
    expect(device.translate(IOVA, WRITE)).toBe(frame);
    expect(container.counters.pagesFaultedIn).toBe(1);
  });

  test('R2.1: no mapping, or a permission that the mapping lacks, is answered INVALID', () => {
    container.map(IOVA, 4, VADDR, READ);
    expect(device.fault(IOVA + 4, READ)).toBe(false);
    expect(device.fault(IOVA, WRITE)).toBe(false);
    expect(device.domain!.pages).toBe(0);
    expect(container.counters.responsesInvalid).toBe(2);
  });

  test('R2.1: memory that the process may only read is granted for reading, though the mapping allows more', () => {
    container.mm.mprotect(VADDR, 1, READ);
    container.map(IOVA, 4, VADDR);
    expect(device.fault(IOVA, READ)).toBe(true);
    expect(device.translate(IOVA, READ)).toBeGreaterThanOrEqual(0);
    expect(device.translate(IOVA, WRITE)).toBe(-1);
    expect(device.fault(IOVA, WRITE)).toBe(false);
  });

  test('R2.1: a group is answered with what went wrong in it, and its other pages are there', () => {
    container.map(IOVA, 4, VADDR);
    const request = { kind: 'page-request', pasid: 3, group: 9, level: 'flat' } as const;
    const pages: [number, number][] = [
      [IOVA + 1, WRITE],
      [IOVA + 9, READ],
      [IOVA + 2, READ | EXEC],
      [IOVA + 3, READ],
    ];
    const results = pages.map(([iovaPage, access], i) =>
      runDirect(device.report({ ...request, iovaPage, access, last: i === pages.length - 1 })),
    );
    expect(results.map((result) => result.code)).toEqual([null, null, null, PageResponse.INVALID]);
    expect(device.translate(IOVA + 1, WRITE)).toBe(container.mm.frameAt(VADDR + 1));
    expect(device.translate(IOVA + 2, READ)).toBe(-1);
    expect(device.translate(IOVA + 3, READ)).toBe(container.mm.frameAt(VADDR + 3));
    expect(container.counters.responsesInvalid).toBe(1);
    expect(container.counters.responsesSuccess).toBe(0);
  });

  test('R2.1: both requests of a group of two bring their page', () => {
    container.map(IOVA, 4, VADDR);
    const request = { kind: 'page-request', pasid: 3, group: 9, level: 'flat' } as const;
    runDirect(device.report({ ...request, iovaPage: IOVA, access: READ, last: false }));
    const { code } = runDirect(
      device.report({ ...request, iovaPage: IOVA + 2, access: WRITE, last: true }),
    );
    expect(code).toBe(PageResponse.SUCCESS);
    expect([0, 1, 2].map((page) => device.domain!.frameAt(IOVA + page) >= 0)).toEqual([
      ...[true, false, true],
    ]);
    expect(container.counters.pagesFaultedIn).toBe(2);
  });

  test('R2.1: a privileged request gets what its read and write bits say, and no more', () => {
    container.map(IOVA, 1, VADDR, READ);
    const report = (access: number) =>
      runDirect(
        device.report({
          kind: 'page-request',
          iovaPage: IOVA,
          access,
          pasid: 3,
          group: 1,
          last: true,
          level: 'flat',
        }),
      ).code;
    expect(report(WRITE | PRIVILEGED)).toBe(PageResponse.INVALID);
    expect(device.domain!.pages).toBe(0);
    expect(report(READ | PRIVILEGED)).toBe(PageResponse.SUCCESS);
    expect(device.domain!.permissionAt(IOVA)).toBe(READ);
    expect(report(READ | EXEC | PRIVILEGED)).toBe(PageResponse.INVALID);
  });

  test('a fault is timed from the request to its answer', () => {
    let now = 0;
    const timed = new IommuDevice({
      address: '0000:00:09.0',
      counters: new Counters(() => (now += 4)),
    });
    timed.attach(device.domain!);
    runDirect(container.iopf.devicesAttached([timed]));
    container.map(IOVA, 4, VADDR);
    expect(timed.fault(IOVA, READ)).toBe(true);
    expect([timed.counters.faultLatency.count, timed.counters.faultLatency.max]).toEqual([1, 4]);
  });

  test('an address that is being updated leads nowhere', () => {
    const mapping = container.map(IOVA, 4, VADDR);
    mapping.vaddrInvalid = true;
    expect(device.fault(IOVA, READ)).toBe(false);
    mapping.vaddrInvalid = false;
    expect(device.fault(IOVA, READ)).toBe(true);
  });

  test('R6.1: UNMAP_DMA removes what was faulted in from the page table and the IOTLB', () => {
    const mapping = container.map(IOVA, 64, VADDR);
    for (const page of [0, 5, 63]) {
      device.fault(IOVA + page, WRITE);
      device.translate(IOVA + page, WRITE);
    }
    container.unmap(mapping);
    expect(device.domain!.pages).toBe(0);
    expect(device.translate(IOVA + 5, WRITE)).toBe(-1);
    expect(container.counters.residentPages).toBe(0);
  });

  test('a lost page is forgotten by every domain and IOTLB, and comes back by a fault', () => {
    container.map(IOVA, 4, VADDR);
    device.fault(IOVA, WRITE);
    device.translate(IOVA, WRITE);
    device.pageLost(IOVA);
    expect(container.counters).toMatchObject({ invalidations: 1, pagesInvalidated: 1 });
    device.pageLost(IOVA);
    expect(container.counters).toMatchObject({ invalidations: 1, pagesInvalidated: 1 });
    expect(device.translate(IOVA, WRITE)).toBe(-1);
    expect(device.fault(IOVA, WRITE)).toBe(true);
  });
});

describe('no pinning: the notifier', () => {
  const taken: [string, (container: TestContainer) => void][] = [
    ['munmap', (c) => c.mm.munmap(VADDR, 4)],
    ['mmap over it', (c) => c.mm.mmap(VADDR, 4, { kind: 'anon', protection: RW })],
    ['mprotect', (c) => c.mm.mprotect(VADDR, 4, 0)],
    ['madvise(DONTNEED)', (c) => c.mm.dontNeed(VADDR, 4)],
    ['reclaim', (c) => c.mm.reclaim(4)],
    ['migration', (c) => c.mm.migrate(VADDR, 4)],
    ['fork', (c) => c.mm.fork(1)],
    ['mremap', (c) => c.mm.mremap(VADDR, 4, 4, VADDR + 0x1000)],
    ['exit', (c) => c.mm.exit()],
  ];

  test.each(taken)('R3.1: %s takes the translations first', (name, take) => {
    const container = new TestContainer();
    container.mm.mmap(VADDR, 4, { kind: 'anon', protection: RW });
    const devices = [container.attach(), container.attach()];
    runDirect(container.iopf.enable());
    const mapping = container.map(IOVA, 4, VADDR);
    for (let page = 0; page < 4; page++) {
      expect(devices[0]!.fault(IOVA + page, WRITE)).toBe(true);
      for (const device of devices) expect(device.translate(IOVA + page, WRITE)).toBeGreaterThan(0);
    }
    take(container);
    for (let page = 0; page < 4; page++) {
      for (const device of devices) expect(device.translate(IOVA + page, READ)).toBe(-1);
    }
    expect(mapping.mapped.count).toBe(0);
    expect(container.counters.residentPages).toBe(0);
    // What ends with its process was not taken away from it.
    expect(container.counters.pagesInvalidated).toBe(name === 'exit' ? 0 : 4);
    expect(container.counters.invalidations > 0).toBe(name !== 'exit');
  });

  test('R3.1: a process that ends takes its first page along', () => {
    const container = new TestContainer();
    container.mm.mmap(0, 2, { kind: 'anon', protection: RW });
    const device = container.attach();
    runDirect(container.iopf.enable());
    container.map(IOVA, 2, 0);
    for (const page of [0, 1]) expect(device.fault(IOVA + page, WRITE)).toBe(true);
    container.mm.exit();
    expect([device.domain!.pages, container.counters.residentPages]).toEqual([0, 0]);
  });

  test('R3.1: after the page went the device gets the new page, never the old one', () => {
    const container = new TestContainer();
    container.mm.mmap(VADDR, 1, { kind: 'anon', protection: RW });
    const device = container.attach();
    runDirect(container.iopf.enable());
    container.map(IOVA, 1, VADDR);
    container.mm.fillPages(VADDR, 1, 0xab);
    device.fault(IOVA, READ);
    container.mm.dontNeed(VADDR, 1);
    expect(device.fault(IOVA, WRITE)).toBe(true);
    const byte = new Uint8Array(1);
    container.memory.readPage(device.translate(IOVA, READ), 0, byte);
    expect(byte[0]).toBe(0);
  });

  test('R3.1: the other pages of a mapping stay', () => {
    const container = new TestContainer({ premapPages: 64 });
    container.mm.mmap(VADDR, 64, { kind: 'anon', protection: RW });
    const device = container.attach();
    runDirect(container.iopf.enable());
    const mapping = container.map(IOVA, 64, VADDR);
    device.fault(IOVA, WRITE);
    container.mm.dontNeed(VADDR + 30, 3);
    expect(mapping.mapped.count).toBe(61);
    expect(device.translate(IOVA + 29, WRITE)).toBe(container.mm.frameAt(VADDR + 29));
    expect(device.translate(IOVA + 31, WRITE)).toBe(-1);
    expect(device.translate(IOVA + 33, WRITE)).toBe(container.mm.frameAt(VADDR + 33));
  });

  test('R3.1: memory that is mapped at several IOVAs goes at all of them', () => {
    const container = new TestContainer();
    container.mm.mmap(VADDR, 8, { kind: 'anon', protection: RW });
    const device = container.attach();
    runDirect(container.iopf.enable());
    container.map(IOVA, 8, VADDR);
    container.map(IOVA + 0x100, 4, VADDR + 4);
    device.fault(IOVA + 5, WRITE);
    device.fault(IOVA + 0x101, WRITE);
    container.mm.dontNeed(VADDR + 5, 1);
    expect(device.translate(IOVA + 5, READ)).toBe(-1);
    expect(device.translate(IOVA + 0x101, READ)).toBe(-1);
  });

  test('R3.2: where an IOMMU removes a whole superpage, the bitmap and the other domains follow', () => {
    const container = new TestContainer({ premapPages: 512 });
    const pages = 1024;
    const vaddr = 0x80000;
    container.mm.mmap(vaddr, pages, { kind: 'hugetlb', protection: RW });
    const merging = container.attach({ merges: true });
    const plain = container.attach();
    runDirect(container.iopf.enable());
    const mapping = container.map(0x2000, pages, vaddr);
    expect(merging.fault(0x2000, WRITE)).toBe(true);
    expect(merging.fault(0x2000 + 512, WRITE)).toBe(true);
    expect(mapping.mapped.count).toBe(1024);
    container.iopf.handler.pageLost(plain, 0x2000 + 5);
    expect(mapping.mapped.count).toBe(512);
    for (const device of [merging, plain]) {
      expect(device.translate(0x2000 + 5, READ)).toBe(-1);
      expect(device.translate(0x2000 + 511, READ)).toBe(-1);
      expect(device.translate(0x2000 + 512, READ)).toBe(container.mm.frameAt(vaddr + 512));
      expect(device.domain!.pages).toBe(512);
    }
    expect(container.counters.residentPages).toBe(512);
    expect(merging.fault(0x2000 + 7, WRITE)).toBe(true);
    expect(plain.translate(0x2000 + 7, WRITE)).toBe(container.mm.frameAt(vaddr + 7));
  });

  test('R3.2: a superpage over two mappings goes out of both bitmaps', () => {
    const container = new TestContainer();
    const device = container.attach();
    runDirect(container.iopf.enable());
    const mappings = [
      container.map(0x2000, 256, VADDR),
      container.map(0x2100, 256, VADDR + 0x1000),
    ];
    // As an IOMMU would that merges whatever lies side by side.
    device.domain!.map(0x2000, 0x4000, 512, RW);
    for (const mapping of mappings) container.counters.addResident(mapping.mapped.set(0, 256));
    device.pageLost(0x2101);
    expect(mappings.map((mapping) => mapping.mapped.count)).toEqual([0, 0]);
    expect(device.domain!.pages).toBe(0);
    expect(container.counters.residentPages).toBe(0);
    expect(container.counters.pagesInvalidated).toBe(512);
  });

  test('R3.3: a page-in that takes its own pages away starts again and ends with frames that are there', () => {
    const container = new TestContainer({ premapPages: 16 });
    container.mm.mmap(VADDR, 64, { kind: 'anon', protection: RW });
    const device = container.attach();
    runDirect(container.iopf.enable());
    container.map(IOVA, 64, VADDR);
    container.memory.limitFrames = 8;
    for (let page = 0; page < 64; page++) {
      expect(device.fault(IOVA + page, WRITE)).toBe(true);
      expect(device.translate(IOVA + page, WRITE)).toBe(container.mm.frameAt(VADDR + page));
    }
    expect(container.counters.pageInsRetried).toBeGreaterThan(0);
    for (let page = 0; page < 64; page++) {
      const frame = device.domain!.frameAt(IOVA + page);
      if (frame >= 0) expect(frame).toBe(container.mm.frameAt(VADDR + page));
    }
  });

  test('R2.2: a page request goes to the container that the device is in, at an IOVA that two containers have', () => {
    const containers = [new TestContainer(), new TestContainer()];
    const [first, second] = containers as [TestContainer, TestContainer];
    for (const each of containers) {
      each.mm.mmap(VADDR, 4, { kind: 'anon', protection: RW });
      each.attach();
      runDirect(each.iopf.enable());
      each.map(IOVA, 4, VADDR);
    }
    const [device] = first.attached as [IommuDevice];
    const [other] = second.attached as [IommuDevice];
    expect(device.fault(IOVA, WRITE)).toBe(true);
    expect(device.translate(IOVA, WRITE)).toBe(first.mm.frameAt(VADDR));
    expect([first.counters.faults, second.counters.faults, second.counters.residentPages]).toEqual([
      1, 0, 0,
    ]);
    expect(other.translate(IOVA, WRITE)).toBe(-1);

    // It leaves for the other container, and nothing remembers where it was.
    first.detach(device);
    expect(device.fault(IOVA, WRITE)).toBe(false);
    device.counters = second.counters;
    device.attach(other.domain!);
    runDirect(second.iopf.devicesAttached([device]));
    expect(device.fault(IOVA, WRITE)).toBe(true);
    expect(device.translate(IOVA, WRITE)).toBe(second.mm.frameAt(VADDR));
    expect(first.counters.residentPages).toBe(0);
    expect(second.counters.residentPages).toBe(1);
  });

  test('R5.7: mappings of two processes in one container work, with one notifier for each', () => {
    const container = new TestContainer();
    const other = new SimulatedSpace(container.memory, { id: 1 });
    container.mm.mmap(VADDR, 4, { kind: 'anon', protection: RW });
    other.mmap(VADDR, 4, { kind: 'anon', protection: RW });
    const device = container.attach();
    runDirect(container.iopf.enable());
    const mine = [container.map(IOVA, 2, VADDR), container.map(IOVA + 2, 2, VADDR + 2)];
    const theirs = container.map(IOVA + 16, 4, VADDR, RW, { mm: other });
    expect(container.mm.notifierCount).toBe(1);
    expect(other.notifierCount).toBe(1);
    device.fault(IOVA, WRITE);
    device.fault(IOVA + 16, WRITE);
    other.dontNeed(VADDR, 4);
    expect(device.translate(IOVA, WRITE)).toBe(container.mm.frameAt(VADDR));
    expect(device.translate(IOVA + 16, WRITE)).toBe(-1);
    container.unmap(mine[0]!);
    expect(container.mm.notifierCount).toBe(1);
    container.unmap(mine[1]!);
    expect(container.mm.notifierCount).toBe(0);
    container.unmap(theirs);
    expect(container.iopf.watchedSpaces).toBe(0);
  });
});

describe('pre-mapping', () => {
  function faulting(premapPages: number, pages = 32) {
    const container = new TestContainer({ premapPages });
    container.mm.mmap(VADDR, pages, { kind: 'anon', protection: RW });
    const device = container.attach();
    runDirect(container.iopf.enable());
    return { container, device, mapping: container.map(IOVA, pages, VADDR) };
  }

  test('R4.1: a fault brings in the pages that follow, up to N with its own', () => {
    const { container, device, mapping } = faulting(8);
    device.fault(IOVA + 4, WRITE);
    expect(mapping.mapped.nextSet(0, 32)).toBe(4);
    expect(mapping.mapped.nextClear(4, 32)).toBe(12);
    expect(container.counters.pagesFaultedIn).toBe(1);
    expect(container.counters.pagesPremapped).toBe(7);
  });

  test('R4.2: a window of contiguous frames has single pages: one that goes takes no other', () => {
    const container = new TestContainer({ premapPages: 512 });
    const vaddr = 0x80000;
    container.mm.mmap(vaddr, 512, { kind: 'hugetlb', protection: RW });
    const device = container.attach();
    runDirect(container.iopf.enable());
    const mapping = container.map(0x2000, 512, vaddr);
    expect(device.fault(0x2000, WRITE)).toBe(true);
    expect(mapping.mapped.count).toBe(512);
    expect(device.translate(0x2000 + 511, WRITE)).toBe(device.translate(0x2000, WRITE) + 511);
    device.pageLost(0x2000 + 100);
    expect(mapping.mapped.count).toBe(511);
    expect(device.domain!.pages).toBe(511);
    expect(device.translate(0x2000 + 100, READ)).toBe(-1);
    expect(device.translate(0x2000 + 101, READ)).toBe(container.mm.frameAt(vaddr + 101));
  });

  test('R4.1: it stops at the first page that is mapped and at the end of the mapping', () => {
    const { device, mapping } = faulting(8);
    device.fault(IOVA + 28, WRITE);
    expect(mapping.mapped.count).toBe(4);
    device.fault(IOVA + 24, WRITE);
    expect(mapping.mapped.count).toBe(8);
    device.fault(IOVA + 10, WRITE);
    device.fault(IOVA + 8, WRITE);
    expect(mapping.mapped.nextClear(8, 32)).toBe(18);
  });

  test('R4.1: a window of two that is cut short is one page', () => {
    const { container, device, mapping } = faulting(2);
    device.fault(IOVA + 5, WRITE);
    device.fault(IOVA + 4, WRITE);
    expect(mapping.mapped.count).toBe(3);
    expect(container.counters).toMatchObject({ pagesFaultedIn: 2, pagesPremapped: 1 });
  });

  test('R4.1: a page of the window that cannot be had only ends the window', () => {
    const { container, device, mapping } = faulting(8);
    container.mm.munmap(VADDR + 3, 1);
    expect(device.fault(IOVA, WRITE)).toBe(true);
    expect(mapping.mapped.count).toBe(3);
    expect(device.fault(IOVA + 3, WRITE)).toBe(false);
  });
});

describe('enable and disable', () => {
  test('R5.1: a device that cannot makes ENABLE fail with ENODEV, and everything is as before', () => {
    const container = new TestContainer();
    container.mm.mmap(VADDR, 4, { kind: 'anon', protection: RW });
    const able = container.attach();
    container.attach({ canFault: false });
    const mapping = container.map(IOVA, 4, VADDR);
    expect(errnoOf(() => runDirect(container.iopf.enable()))).toBe(Errno.ENODEV);
    expect(container.iopf.enabled).toBe(false);
    expect(able.iopfEnabled).toBe(false);
    expect(able.handlers.flat).toBeNull();
    expect(mapping.pinned).toBe(true);
    expect(container.mm.lockedPages).toBe(4);
    expect(container.mm.notifierCount).toBe(0);
  });

  test('R5.3: a device that someone else switched on makes ENABLE fail with EBUSY and stays on', () => {
    const container = new TestContainer();
    const first = container.attach();
    const others = container.attach();
    const owner = new TestContainer().iopf.handler;
    others.handlers.register(owner, FaultReport.FLAT);
    others.enableIopf();
    expect(errnoOf(() => runDirect(container.iopf.enable()))).toBe(Errno.EBUSY);
    expect(first.iopfEnabled).toBe(false);
    expect(first.handlers.flat).toBeNull();
    expect(others.iopfEnabled).toBe(true);
    expect(others.handlers.flat).toBe(owner);
  });

  test('R5.3: a device whose page requests are on without a handler is EBUSY, keeps them, and no handler of ours is left', () => {
    const container = new TestContainer();
    const device = container.attach();
    device.enableIopf();
    expect(errnoOf(() => runDirect(container.iopf.enable()))).toBe(Errno.EBUSY);
    expect(device.iopfEnabled).toBe(true);
    expect(device.handlers.flat).toBeNull();
  });

  test('R5.1, R5.3: ENABLE and DISABLE twice are as once', () => {
    const container = new TestContainer();
    const device = container.attach();
    runDirect(container.iopf.disable());
    runDirect(container.iopf.enable());
    runDirect(container.iopf.enable());
    expect(device.handlers.flat).toBe(container.iopf.handler);
    runDirect(container.iopf.disable());
    runDirect(container.iopf.disable());
    expect(device.handlers.flat).toBeNull();
    expect(device.iopfEnabled).toBe(false);
  });

  test('R5.1: a nested device gets its handler for stage 2', () => {
    const container = new TestContainer();
    const device = container.attach({ nested: true });
    runDirect(container.iopf.enable());
    expect(device.handlers.stage2).toBe(container.iopf.handler);
    expect(device.handlers.flat).toBeNull();
    container.mm.mmap(VADDR, 1, { kind: 'anon', protection: RW });
    container.map(IOVA, 1, VADDR);
    expect(device.fault(IOVA, WRITE)).toBe(true);
  });

  test('R5.2: up goes handler then feature, down feature then handler, and never another order', () => {
    const container = new TestContainer();
    const device = container.attach();
    const states: string[] = [];
    const note = () => {
      const state = `${device.handlers.flat ? 'handler' : '-'} ${device.iopfEnabled ? 'feature' : '-'}`;
      if (states[states.length - 1] !== state) states.push(state);
    };
    for (const flow of [container.iopf.enable(), container.iopf.disable()]) {
      for (let step = flow.next(); !step.done; step = flow.next()) note();
      note();
    }
    expect(states).toEqual(['handler -', 'handler feature', 'handler -', '- -']);
  });

  test('R5.8: what is pinned stays mapped, loses its pins and its account, and can be taken away', () => {
    const container = new TestContainer();
    container.mm.mmap(VADDR, 16, { kind: 'anon', protection: RW });
    const device = container.attach();
    const mapping = container.map(IOVA, 16, VADDR);
    const frames = Array.from({ length: 16 }, (_, page) => device.translate(IOVA + page, WRITE));
    runDirect(container.iopf.enable());
    expect(container.memory.pinned).toBe(0);
    expect(container.mm.lockedPages).toBe(0);
    expect(container.counters.pinnedPages).toBe(0);
    for (let page = 0; page < 16; page++)
      expect(device.translate(IOVA + page, WRITE)).toBe(frames[page]);
    expect(container.counters.faults).toBe(0);
    expect(mapping.mapped.count).toBe(16);
    container.mm.dontNeed(VADDR + 2, 1);
    expect(device.translate(IOVA + 2, WRITE)).toBe(-1);
    expect(container.counters.residentPages).toBe(15);
  });

  test('R5.8: a pinned frame that its process has replaced since does not stay mapped', () => {
    const container = new TestContainer();
    container.mm.mmap(VADDR, 5, { kind: 'anon', protection: RW });
    const device = container.attach();
    const mapping = container.map(IOVA, 5, VADDR);
    container.mm.dontNeed(VADDR, 1);
    container.mm.munmap(VADDR + 3, 1);
    runDirect(container.iopf.enable());
    expect([0, 3].map((page) => device.translate(IOVA + page, WRITE))).toEqual([-1, -1]);
    for (const page of [1, 2, 4])
      expect(device.translate(IOVA + page, WRITE)).toBe(container.mm.frameAt(VADDR + page));
    expect(mapping.mapped.count).toBe(3);
    expect(container.counters.residentPages).toBe(3);
    expect(device.fault(IOVA + 3, WRITE)).toBe(false);
  });

  test('R5.8: pages behind a mapping are not brought in for it', () => {
    const container = new TestContainer();
    container.mm.mmap(VADDR, 1200, { kind: 'anon', protection: RW });
    container.attach();
    container.map(IOVA, 600, VADDR);
    runDirect(container.iopf.enable());
    expect([container.mm.presentPages, container.counters.residentPages]).toEqual([600, 600]);
  });

  test('R5.8: its notifier is there before its pins go', () => {
    const container = new TestContainer();
    container.mm.mmap(VADDR, 4, { kind: 'anon', protection: RW });
    container.attach();
    container.map(IOVA, 4, VADDR);
    const seen: [number, number][] = [];
    const { unpin } = container.mm;
    container.mm.unpin = (frames, count) => {
      seen.push([container.mm.notifierCount, container.iopf.watchedSpaces]);
      unpin.call(container.mm, frames, count);
    };
    runDirect(container.iopf.enable());
    expect(seen).toEqual([[1, 1]]);
    expect(container.memory.pinned).toBe(0);
  });

  test('R5.8: what is pinned at an address that is being updated does not stay mapped: no notifier could guard it', () => {
    const container = new TestContainer();
    container.mm.mmap(VADDR, 4, { kind: 'anon', protection: RW });
    const device = container.attach();
    const mapping = container.map(IOVA, 4, VADDR);
    mapping.vaddrInvalid = true;
    runDirect(container.iopf.enable());
    expect([device.domain!.pages, mapping.mapped.count, container.counters.residentPages]).toEqual([
      0, 0, 0,
    ]);
    expect([container.memory.pinned, container.mm.lockedPages]).toEqual([0, 0]);
    expect(device.fault(IOVA, READ)).toBe(false);
    mapping.vaddrInvalid = false;
    expect(device.fault(IOVA, READ)).toBe(true);
  });

  test('R5.8, R3.2: a pinned superpage that becomes evictable goes as a whole, and the bitmap follows', () => {
    const container = new TestContainer();
    const vaddr = 0x80000;
    container.mm.mmap(vaddr, 512, { kind: 'hugetlb', protection: RW });
    const device = container.attach();
    const mapping = container.map(0x2000, 512, vaddr);
    runDirect(container.iopf.enable());
    expect(mapping.mapped.count).toBe(512);
    device.pageLost(0x2000 + 100);
    expect(mapping.mapped.count).toBe(0);
    expect(device.domain!.pages).toBe(0);
    expect(device.fault(0x2000 + 99, WRITE)).toBe(true);
    expect(device.domain!.pages).toBe(1);
  });

  test('R5.10: DISABLE pins and maps everything again', () => {
    const container = new TestContainer();
    container.mm.mmap(VADDR, 16, { kind: 'anon', protection: RW });
    const device = container.attach();
    runDirect(container.iopf.enable());
    const mapping = container.map(IOVA, 16, VADDR);
    device.fault(IOVA + 7, WRITE);
    runDirect(container.iopf.disable());
    expect(mapping.pinned).toBe(true);
    expect(mapping.mapped.count).toBe(0);
    expect(container.mm.lockedPages).toBe(16);
    expect(container.mm.notifierCount).toBe(0);
    for (let page = 0; page < 16; page++) {
      expect(device.translate(IOVA + page, WRITE)).toBe(container.mm.frameAt(VADDR + page));
    }
    expect(device.fault(IOVA, WRITE)).toBe(false);
    expect(container.counters.residentPages).toBe(16);
  });

  test('R5.10: where DISABLE cannot pin, the container stays enabled and works, and nothing is pinned', () => {
    const container = new TestContainer();
    container.mm.mmap(VADDR, 16, { kind: 'anon', protection: RW });
    const device = container.attach();
    runDirect(container.iopf.enable());
    container.map(IOVA, 8, VADDR);
    const second = container.map(IOVA + 8, 8, VADDR + 8);
    device.fault(IOVA + 8, WRITE);
    container.lockLimitPages = 8;
    expect(errnoOf(() => runDirect(container.iopf.disable()))).toBe(Errno.ENOMEM);
    expect(container.iopf.enabled).toBe(true);
    expect(container.memory.pinned).toBe(0);
    expect(container.mm.lockedPages).toBe(0);
    expect(device.iopfEnabled).toBe(true);
    expect(second.pinned).toBe(false);
    for (let page = 0; page < 16; page++) {
      expect(device.translate(IOVA + page, WRITE) >= 0 || device.fault(IOVA + page, WRITE)).toBe(
        true,
      );
    }
    container.mm.dontNeed(VADDR, 16);
    expect(device.domain!.pages).toBe(0);
    expect(container.counters.residentPages).toBe(0);
  });

  test('R5.11: after release nothing is left: pins, account, notifiers, handlers, pages', () => {
    const container = new TestContainer({ premapPages: 4 });
    container.mm.mmap(VADDR, 16, { kind: 'anon', protection: RW });
    const device = container.attach();
    container.map(IOVA, 8, VADDR);
    runDirect(container.iopf.enable());
    container.map(IOVA + 8, 4, VADDR + 8);
    container.map(IOVA + 12, 4, VADDR + 12, RW, { pinned: true });
    device.fault(IOVA + 9, WRITE);
    container.release();
    expect([container.iopf.enabled, container.iopf.watchedSpaces]).toEqual([false, 0]);
    expect(container.memory.pinned).toBe(0);
    expect(container.mm.lockedPages).toBe(0);
    expect(container.mm.notifierCount).toBe(0);
    expect(device.handlers.flat).toBeNull();
    expect(device.iopfEnabled).toBe(false);
    expect(device.domain!.pages).toBe(0);
    expect(container.counters.residentPages).toBe(0);
    expect(container.counters.pinnedPages).toBe(0);
  });
});

describe('attach and detach on an enabled container', () => {
  test('R5.5: a new device is switched on, its domain starts empty and faults', () => {
    const container = new TestContainer();
    container.mm.mmap(VADDR, 4, { kind: 'anon', protection: RW });
    const first = container.attach();
    runDirect(container.iopf.enable());
    container.map(IOVA, 4, VADDR);
    first.fault(IOVA, WRITE);
    const second = container.attach();
    expect(second.domain!.pages).toBe(0);
    expect(second.fault(IOVA, WRITE)).toBe(true);
    expect(second.translate(IOVA, WRITE)).toBe(first.translate(IOVA, WRITE));
  });

  test('R5.5: where a device of the new group cannot, none of them is left on', () => {
    const container = new TestContainer();
    const first = container.attach();
    runDirect(container.iopf.enable());
    expect(errnoOf(() => container.attach({ canFault: false }))).toBe(Errno.ENODEV);
    expect(container.domains.length).toBe(1);
    expect(first.iopfEnabled).toBe(true);
  });

  test('R5.5, R7.2: pinned mappings are pinned, accounted, there in new domains, and never fault', () => {
    const container = new TestContainer();
    container.mm.mmap(VADDR, 8, { kind: 'anon', protection: RW });
    container.attach();
    const before = container.map(IOVA, 4, VADDR, RW, { pinned: true });
    runDirect(container.iopf.enable());
    container.map(IOVA + 4, 4, VADDR + 4, READ, { pinned: true });
    expect(container.mm.lockedPages).toBe(8);
    expect(before.pinned).toBe(true);
    const second = container.attach();
    for (let page = 0; page < 4; page++) {
      expect(second.translate(IOVA + page, WRITE)).toBe(container.mm.frameAt(VADDR + page));
    }
    const faultedIn = container.counters.pagesFaultedIn;
    expect(second.fault(IOVA + 4, WRITE)).toBe(false);
    expect(container.counters.pagesFaultedIn).toBe(faultedIn);
  });

  test('R5.6: detach takes the handler off, and what only its domain had is not counted any more', () => {
    const container = new TestContainer();
    container.mm.mmap(VADDR, 4, { kind: 'anon', protection: RW });
    const first = container.attach();
    runDirect(container.iopf.enable());
    const mapping = container.map(IOVA, 4, VADDR);
    for (const page of [0, 3]) first.fault(IOVA + page, WRITE);
    const second = container.attach();
    second.fault(IOVA + 1, WRITE);
    container.detach(first);
    expect(first.handlers.flat).toBeNull();
    expect(first.fault(IOVA, WRITE)).toBe(false);
    expect([0, 1, 2, 3].map((page) => mapping.mapped.test(page))).toEqual([
      ...[false, true, false, false],
    ]);
    expect(container.counters.residentPages).toBe(1);
    expect(second.fault(IOVA, WRITE)).toBe(true);
  });

  test('R5.6: what another domain holds stays present, at whatever frame, 0 too', () => {
    const container = new TestContainer();
    container.mm.mmap(VADDR, 4, { kind: 'anon', protection: RW });
    const [first, second] = [container.attach(), container.attach()];
    runDirect(container.iopf.enable());
    const mapping = container.map(IOVA, 4, VADDR);
    const resident = new ResidentPages(container.space);
    resident.add(mapping, 0, Float64Array.of(0), 1, RW, first!.domain!);
    container.detach(first!);
    expect(second!.translate(IOVA, WRITE)).toBe(0);
    expect([mapping.mapped.test(0), container.counters.residentPages]).toEqual([true, 1]);
    // It is there: nothing is brought in.
    expect([second!.fault(IOVA, WRITE), runDirect(second!.faultFlow(IOVA, WRITE))]).toEqual([
      ...[true, true],
    ]);
    expect([second!.translate(IOVA, WRITE), container.counters.pagesFaultedIn]).toEqual([0, 0]);
  });
});

describe('the dirty log by write faults', () => {
  let container: TestContainer;
  let device: IommuDevice;

  beforeEach(() => {
    container = new TestContainer({ premapPages: 4 });
    container.mm.mmap(VADDR, 16, { kind: 'anon', protection: RW });
    device = container.attach();
    runDirect(container.iopf.enable());
  });

  function access(page: number, kind: number): void {
    if (device.translate(IOVA + page, kind) < 0) expect(device.fault(IOVA + page, kind)).toBe(true);
    expect(device.translate(IOVA + page, kind)).toBeGreaterThanOrEqual(0);
  }

  function dirtyPages(log: DirtyLog, mapping: Mapping): number[] {
    return Array.from({ length: 16 }, (_, page) => page).filter((page) =>
      log.of(mapping).test(page),
    );
  }

  test('R6.3: a page is dirty if and only if it was written since the last report', () => {
    const mapping = container.map(IOVA, 16, VADDR);
    access(0, WRITE);
    access(5, READ);
    const log = container.log();
    expect(device.domain!.pages).toBe(0);
    access(0, READ);
    access(5, READ);
    access(6, WRITE);
    access(6, READ);
    expect(dirtyPages(log, mapping)).toEqual([6]);
    access(5, WRITE);
    expect(dirtyPages(log, mapping)).toEqual([5, 6]);
    container.space.restartLog(log, mapping);
    expect(dirtyPages(log, mapping)).toEqual([]);
    access(0, READ);
    access(6, WRITE);
    expect(dirtyPages(log, mapping)).toEqual([6]);
  });

  test('R6.3: each run of pages that is reported is watched again, and the others stay dirty', () => {
    const mapping = container.map(IOVA, 16, VADDR);
    const log = container.log();
    for (const page of [2, 4, 5, 9, 12]) access(page, WRITE);
    container.iopf.dirtyReported(log, mapping, 3, 7);
    expect(dirtyPages(log, mapping)).toEqual([2, 12]);
    expect([2, 4, 5, 9, 12].map((page) => device.translate(IOVA + page, WRITE) >= 0)).toEqual([
      ...[true, false, false, false, true],
    ]);
    for (const page of [4, 9]) access(page, WRITE);
    expect(dirtyPages(log, mapping)).toEqual([2, 4, 9, 12]);
  });

  test('R6.3: with the log off the handler grants all that the mapping allows', () => {
    container.map(IOVA, 16, VADDR);
    const log = container.log();
    access(0, READ);
    expect(device.translate(IOVA, WRITE)).toBe(-1);
    container.space.stopLog(log);
    access(8, READ);
    expect(device.translate(IOVA + 8, WRITE)).toBeGreaterThan(0);
    access(0, WRITE);
  });

  test('R6.3, R5.8: ENABLE while the log is on reports what was pinned as dirty once', () => {
    const late = new TestContainer();
    late.mm.mmap(VADDR, 4, { kind: 'anon', protection: RW });
    const attached = late.attach();
    const mapping = late.map(IOVA, 4, VADDR);
    const log = late.log();
    runDirect(late.iopf.enable());
    expect(log.of(mapping).count).toBe(4);
    expect(attached.translate(IOVA, READ)).toBe(-1);
    late.space.restartLog(log, mapping);
    attached.fault(IOVA + 2, WRITE);
    expect(log.of(mapping).count).toBe(1);
  });
});

test('R5.8: ENABLE keeps all that was pinned, but for a page that has gone since', () => {
  const container = new TestContainer();
  container.mm.mmap(VADDR, 1500, { kind: 'anon', protection: RW });
  const device = container.attach();
  container.map(IOVA, 1500, VADDR);
  container.mm.munmap(VADDR + 700, 1);
  runDirect(container.iopf.enable());
  const gone = Array.from({ length: 1500 }, (_, page) => page).filter(
    (page) => device.domain!.frameAt(IOVA + page) < 0,
  );
  expect(gone).toEqual([700]);
  expect(container.counters).toMatchObject({ residentPages: 1499, pinnedPages: 0 });
});

test('R6.3: with a log of one domain, devices of others read what is written through it', () => {
  const container = new TestContainer({ premapPages: 2 });
  container.mm.mmap(VADDR, 4, { kind: 'anon', protection: RW });
  const [one, other] = [container.attach(), container.attach()];
  runDirect(container.iopf.enable());
  const mapping = container.map(IOVA, 4, VADDR);
  const log = container.log(one!.domain);
  const permissions = () =>
    [one, other].map((device) =>
      [0, 1, 2, 3].map((page) => device!.domain!.permissionAt(IOVA + page)),
    );
  expect(one!.fault(IOVA, WRITE)).toBe(true);
  expect(permissions()).toEqual([
    [RW, 0, 0, 0],
    [READ, 0, 0, 0],
  ]);
  expect(other!.fault(IOVA + 2, READ)).toBe(true);
  expect(other!.fault(IOVA + 3, WRITE)).toBe(true);
  expect(permissions()).toEqual([
    [RW, 0, READ, READ],
    [READ, 0, READ, RW],
  ]);
  expect([0, 1, 2, 3].map((page) => log.of(mapping).test(page))).toEqual([
    ...[true, false, false, false],
  ]);
});

test('R6.3: with a log on, a write to a mapping for writing alone lets nobody read', () => {
  const container = new TestContainer();
  container.mm.mmap(VADDR, 4, { kind: 'anon', protection: RW });
  const device = container.attach();
  runDirect(container.iopf.enable());
  container.map(IOVA, 4, VADDR, WRITE);
  container.log();
  expect(device.fault(IOVA, WRITE)).toBe(true);
  expect(device.domain!.translate(IOVA, WRITE)).toBeGreaterThanOrEqual(0);
  expect(device.domain!.translate(IOVA, READ)).toBe(-1);
});

test('a mapping for more than its memory allows gets what the memory allows', () => {
  const container = new TestContainer();
  container.mm.mmap(VADDR, 4, { kind: 'anon', protection: READ });
  const device = container.attach();
  runDirect(container.iopf.enable());
  container.map(IOVA, 4, VADDR);
  expect([device.fault(IOVA, READ), device.fault(IOVA + 1, WRITE)]).toEqual([true, false]);
  expect(device.domain!.translate(IOVA, READ)).toBeGreaterThanOrEqual(0);
  expect(device.domain!.translate(IOVA, WRITE)).toBe(-1);
  expect(container.counters.residentPages).toBe(1);
});
