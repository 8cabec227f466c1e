import { beforeEach, describe, expect, test } from 'vitest';
import { Errno } from '../../src/abi/errno.js';
import { runDirect } from '../../src/flow/direct.js';
import { Mapping } from '../../src/ioas/mapping.js';
import { UserPages } from '../../src/ioas/user-pages.js';
import { IommuDevice } from '../../src/iommu/device.js';
import { Domain } from '../../src/iommu/domain.js';
import { defaultGeometry } from '../../src/iommu/geometry.js';
import { IommuGroup } from '../../src/iommu/group.js';
import { type DeviceFaultHandler, WAITS } from '../../src/iommu/page-request.js';
import { READ, WRITE } from '../../src/mm/address-space.js';
import { errnoOf } from '../errno-of.js';
import { RW, TestContainer } from './iopf/container.js';

const IOVA = 0x100;
const VADDR = 0x7f0000;
const frames = new Float64Array(4);

let container: TestContainer;

beforeEach(() => {
  container = new TestContainer();
  container.mm.mmap(VADDR, 16, { kind: 'anon', protection: RW });
});

const state = () => {
  const { counters, mm, memory } = container;
  return [counters.pinnedPages, mm.lockedPages, memory.pinned, counters.residentPages];
};

/** A driver that pins pages of the space. */
function driver(): void {
  container.space.pins.register({
    dmaUnmap: (page, pages) => container.space.pins.unpin(page, pages),
  });
}

describe('a space without a domain', () => {
  test('pins nothing; the first domain pins all, and with the last all pins go', () => {
    container.map(IOVA, 4, VADDR);
    container.map(IOVA + 8, 2, VADDR + 8, RW, { pinned: true });
    expect(state()).toEqual([0, 0, 0, 0]);
    const device = container.attach();
    expect(state()).toEqual([6, 6, 6, 6]);
    expect(device.translate(IOVA + 3, WRITE)).toBe(container.mm.frameAt(VADDR + 3));
    expect(container.iopf.watchedSpaces).toBe(0);
    container.detach(device);
    expect(state()).toEqual([0, 0, 0, 0]);
    expect(container.mappings.size).toBe(2);
    container.attach();
    expect(state()).toEqual([6, 6, 6, 6]);
    container.release();
  });

  test('is as it was where its first domain cannot pin all', () => {
    container.map(IOVA, 4, VADDR);
    container.map(IOVA + 8, 2, VADDR + 15);
    const watched = container.iopf.watchedSpaces;
    expect(errnoOf(() => container.attach())).toBe(Errno.EFAULT);
    expect([...state(), container.domains.length]).toEqual([0, 0, 0, 0, 0]);
    expect(container.iopf.watchedSpaces).toBe(watched);
  });

  test('in mode fault, its first domain gets only what was made pinned, and what drivers hold', () => {
    driver();
    runDirect(container.iopf.enable());
    container.map(IOVA, 4, VADDR);
    container.map(IOVA + 8, 2, VADDR + 8, RW, { pinned: true });
    container.space.pins.pin(new IommuGroup(1), IOVA + 1, 1, WRITE, frames);
    expect(state()).toEqual([1, 1, 1, 0]);
    const device = container.attach();
    expect(device.translate(IOVA + 1, WRITE)).toBe(frames[0]);
    expect(device.translate(IOVA, WRITE)).toBe(-1);
    expect(state()).toEqual([3, 3, 3, 3]);
    container.detach(device);
    expect(state()).toEqual([1, 1, 1, 0]);
    container.space.pins.unpin(IOVA + 1, 1);
    container.release();
    expect([...state(), container.mm.notifierCount]).toEqual([0, 0, 0, 0, 0]);
  });

  test('is not pinned by DISABLE, for its first domain does that', () => {
    runDirect(container.iopf.enable());
    container.map(IOVA, 4, VADDR);
    runDirect(container.iopf.disable());
    expect(state()).toEqual([0, 0, 0, 0]);
    container.attach();
    expect(state()).toEqual([4, 4, 4, 4]);
  });

  test('takes IOVAs that no IOMMU reaches, and then no IOMMU takes the space', () => {
    const far = container.map(2 ** 36 - 1, 4, VADDR);
    const owner = {};
    expect(errnoOf(() => container.space.constrain(owner, defaultGeometry))).toBe(Errno.EINVAL);
    expect(container.space.ranges).toEqual([]);
    container.unmap(far);
    container.space.constrain(owner, defaultGeometry);
    expect(container.space.ranges.at(-1)!.end).toBe(2 ** 36);
    container.space.relax(owner);
    expect(container.space.ranges).toEqual([]);
  });
});

test('R6.2: nobody pins pages of a space whose unmaps nobody is told of', () => {
  container.map(IOVA, 4, VADDR);
  container.attach();
  const before = state();
  const pin = () => container.space.pins.pin(new IommuGroup(1), IOVA, 1, WRITE, frames);
  expect(errnoOf(pin)).toBe(Errno.EINVAL);
  expect(state()).toEqual(before);
});

describe('a domain whose faults a program answers', () => {
  const unasked = () => expect.unreachable();
  const program: DeviceFaultHandler = { answer: unasked, handle: unasked, pageLost: unasked };
  const attach = (device: IommuDevice, domain: Domain) =>
    runDirect(container.space.attachDevices([device], { domain, handler: program, stage1: null }));

  test('is entered by no device that cannot wait', () => {
    const device = new IommuDevice({ address: '0000:00:01.0', canFault: false });
    const domain = new Domain();
    expect(errnoOf(() => attach(device, domain))).toBe(Errno.ENODEV);
    expect([device.domain, domain.devices.length, device.iopfEnabled]).toEqual([null, 0, false]);
  });

  test.each([
    ['of the only stage', false],
    ['of the second stage alone', true],
  ])('has the faults %s go to the program, until the device leaves', (_, nested) => {
    const device = new IommuDevice({ address: '0000:00:01.0' });
    attach(device, new Domain({ nested }));
    const { flat, stage2 } = device.handlers;
    expect([flat, stage2]).toEqual(nested ? [null, program] : [program, null]);
    expect(device.iopfEnabled).toBe(true);
    runDirect(container.space.detachDevices([device]));
    expect([device.handlers.flat, device.handlers.stage2]).toEqual([null, null]);
    expect(device.iopfEnabled).toBe(false);
  });

  test('has them go there when the pages of its space are left to faults, once and again', () => {
    const device = new IommuDevice({ address: '0000:00:01.0' });
    attach(device, new Domain());
    for (let time = 0; time < 2; time++) {
      runDirect(container.space.leaveToFaults());
      expect(container.iopf.enabled).toBe(true);
      expect([device.handlers.flat, device.iopfEnabled]).toEqual([program, true]);
    }
    runDirect(container.space.detachDevices([device]));
  });
});

describe('a device that moves to another space', () => {
  let other: TestContainer;
  let device: IommuDevice;
  const move = (from = container, to = other) =>
    runDirect(
      from.space.moveDevices([device], to.space, {
        domain: to.domains[0]!,
        handler: null,
        stage1: null,
      }),
    );
  const enabled = ({ iopf }: TestContainer) => iopf.enabledDevices.map(({ address }) => address);

  beforeEach(() => {
    other = new TestContainer();
    other.attach();
  });

  test('R5.5: has its page requests answered there where that one has IOPF, and only then', () => {
    device = container.attach({ address: '0000:00:09.0' });
    runDirect(other.iopf.enable());
    move();
    expect([device.domain, device.iopfEnabled]).toEqual([other.domains[0], true]);
    expect(device.handlers.flat).toBe(other.iopf.handler);
    expect([enabled(container), enabled(other).at(-1)]).toEqual([[], device.address]);
    move(other, container);
    expect([device.domain, device.iopfEnabled]).toEqual([container.domains[0], false]);
    expect(device.handlers.flat).toBeNull();
    expect(enabled(other)).not.toContain(device.address);
  });

  test('stays where it is if that one has IOPF and it cannot wait: ENODEV', () => {
    device = container.attach({ address: '0000:00:09.0', canFault: false });
    runDirect(other.iopf.enable());
    expect(errnoOf(() => move())).toBe(Errno.ENODEV);
    expect([device.domain, device.iopfEnabled]).toEqual([container.domains[0], false]);
    expect(enabled(other)).not.toContain(device.address);
  });
});

test('a mapping that is shared by two spaces is pinned and charged once', () => {
  const other = new TestContainer();
  const source = container.map(IOVA, 4, VADDR).source;
  container.attach();
  const copy = new Mapping(IOVA + 0x100, 2, RW, source, 1);
  const copied = other.attach();
  other.space.map(copy);
  expect(copied.translate(IOVA + 0x100, WRITE)).toBe(container.mm.frameAt(VADDR + 1));
  expect([container.memory.pinned, container.mm.lockedPages]).toEqual([4, 4]);
  expect([container.counters.pinnedPages, other.counters.pinnedPages]).toEqual([4, 0]);
  container.unmap(container.mappings.covering(IOVA)!);
  expect([container.memory.pinned, container.mm.lockedPages]).toEqual([2, 2]);
  expect(copied.translate(IOVA + 0x101, WRITE)).toBe(container.mm.frameAt(VADDR + 2));
  other.unmap(copy);
  expect([container.memory.pinned, container.mm.lockedPages]).toEqual([0, 0]);
});

describe('a dirty log of one domain', () => {
  let first: IommuDevice;
  let second: IommuDevice;
  let mapping: Mapping;

  beforeEach(() => {
    first = container.attach();
    second = container.attach();
    runDirect(container.iopf.enable());
    mapping = container.map(IOVA, 4, VADDR);
  });

  test('R6.3: has what its own devices write, and nothing that others write', () => {
    const log = container.log(first.domain);
    expect(second.fault(IOVA, WRITE)).toBe(true);
    expect(first.translate(IOVA, READ)).toBeGreaterThan(0);
    expect(first.translate(IOVA, WRITE)).toBe(-1);
    expect(log.of(mapping).count).toBe(0);
    expect(first.fault(IOVA, WRITE)).toBe(true);
    expect(log.of(mapping).count).toBe(1);
    // The other domain had it already, and keeps what it may do.
    expect(second.translate(IOVA, WRITE)).toBe(first.translate(IOVA, WRITE));
  });

  test('R6.3: two logs tell the writes of two domains apart', () => {
    const logs = [container.log(first.domain), container.log(second.domain)];
    first.fault(IOVA, WRITE);
    second.fault(IOVA + 1, WRITE);
    const told = () => logs.map((log) => [log.of(mapping).test(0), log.of(mapping).test(1)]);
    expect(told()).toEqual([
      [true, false],
      [false, true],
    ]);
    container.space.restartLog(logs[0]!, mapping);
    expect(told()).toEqual([
      [false, false],
      [false, true],
    ]);
    second.fault(IOVA, WRITE);
    expect(first.translate(IOVA, WRITE)).toBe(-1);
    container.space.stopLog(logs[0]!);
    container.space.stopLog(logs[1]!);
    first.fault(IOVA + 2, READ);
    expect(second.translate(IOVA + 2, WRITE)).toBeGreaterThan(0);
  });

  test('R6.3: memory that may only be written is given to no other domain', () => {
    container.unmap(mapping);
    container.map(IOVA, 4, VADDR, WRITE);
    container.log(first.domain);
    expect(first.fault(IOVA, WRITE)).toBe(true);
    expect(second.domain!.permissionAt(IOVA)).toBe(0);
    expect(second.fault(IOVA, WRITE)).toBe(true);
    expect(second.domain!.permissionAt(IOVA)).toBe(WRITE);
  });
});

describe('a page request', () => {
  test('R2.3: waits for a page-in of its page that is under way', () => {
    const device = container.attach();
    runDirect(container.iopf.enable());
    container.map(IOVA, 4, VADDR);
    const fault = device.faultFlow(IOVA, WRITE);
    while (container.iopf.handler.pageIns.length === 0) fault.next();
    expect(container.iopf.handler.answer(device, IOVA, WRITE)).toBe(WAITS);
    expect(runDirect(fault)).toBe(true);
  });

  test('R6.2: whose page a driver pins meanwhile finds it there', () => {
    driver();
    const device = container.attach();
    const group = new IommuGroup(1);
    group.add(device);
    runDirect(container.iopf.enable());
    container.map(IOVA, 4, VADDR);
    const fault = device.faultFlow(IOVA, WRITE);
    while (container.iopf.handler.pageIns.length === 0) fault.next();
    container.space.pins.pin(group, IOVA, 1, WRITE, frames);
    expect(runDirect(fault)).toBe(true);
    expect(device.translate(IOVA, WRITE)).toBe(frames[0]);
    expect([container.counters.pagesFaultedIn, container.counters.pageInsRetried]).toEqual([0, 1]);
  });

  test('R4.1: at the last page of its mapping brings in that page alone', () => {
    const wide = new TestContainer({ premapPages: 4 });
    wide.mm.mmap(VADDR, 4, { kind: 'anon', protection: RW });
    const device = wide.attach();
    runDirect(wide.iopf.enable());
    wide.map(IOVA, 4, VADDR);
    expect(runDirect(device.faultFlow(IOVA + 3, WRITE))).toBe(true);
    expect(wide.counters.residentPages).toBe(1);
  });

  test('finds a page lost only where it was there, was not pinned, and is mapped', () => {
    const device = container.attach();
    container.map(IOVA, 1, VADDR);
    runDirect(container.iopf.enable());
    container.map(IOVA + 1, 1, VADDR + 1);
    container.map(IOVA + 2, 1, VADDR + 2, RW, { pinned: true });
    const { handler } = container.iopf;
    for (const page of [IOVA + 1, IOVA + 2, IOVA + 3]) handler.pageLost(device, page);
    expect(container.counters.pagesInvalidated).toBe(0);
    expect(device.translate(IOVA + 2, WRITE)).toBeGreaterThan(0);
    device.fault(IOVA + 1, WRITE);
    handler.pageLost(device, IOVA + 1);
    expect([container.counters.pagesInvalidated, container.counters.invalidations]).toEqual([1, 1]);
  });
});

describe('our own bugs', () => {
  test('a notifier that is left at the end, and a mapping that nobody watches', () => {
    container.map(IOVA, 1, VADDR);
    expect(() => runDirect(container.iopf.release())).toThrow('notifiers are left');
    const source = new UserPages(container.mm, VADDR, 1, RW, null);
    const other = new TestContainer();
    expect(() => other.iopf.mappingRemoved(new Mapping(IOVA, 1, RW, source))).toThrow(
      'not watched',
    );
  });

  test('a superpage that reaches into a pinned mapping', () => {
    const device = container.attach({ merges: true } as never);
    const domain = device.domain as Domain;
    runDirect(container.iopf.enable());
    container.mm.mmap(0x10000, 512, { kind: 'anon', protection: RW });
    container.map(0x200, 256, 0x10000);
    container.map(0x300, 256, 0x10100, RW, { pinned: true });
    domain.unmap(0x300, 256);
    domain.map(0x200, 0x40000, 512, RW);
    container.mappings.covering(0x200)!.mapped.set(0, 1);
    expect(() => container.mm.migrate(0x10000, 1)).toThrow('reached into a pinned mapping');
  });
});

describe('a listener', () => {
  const heard: (readonly [string, number, number])[] = [];
  const listener = {
    mapped: ({ iovaPage, vaddrPage }: Mapping) => void heard.push(['mapped', iovaPage, vaddrPage]),
    unmapping: ({ iovaPage, vaddrPage }: Mapping) =>
      void heard.push(['unmapping', iovaPage, vaddrPage]),
  };
  const since = () => heard.splice(0);

  test('hears of what there is, what comes, what moves and what goes, until it listens no more', () => {
    const first = container.map(IOVA, 4, VADDR);
    container.space.listen(listener);
    expect(since()).toEqual([['mapped', IOVA, VADDR]]);
    container.map(IOVA + 8, 2, VADDR + 8);
    expect(since()).toEqual([['mapped', IOVA + 8, VADDR + 8]]);
    container.space.invalidateVaddr(first);
    container.space.move(first, container.mm, VADDR + 4);
    expect(since()).toEqual([
      ['unmapping', IOVA, VADDR],
      ['mapped', IOVA, VADDR + 4],
    ]);
    container.unmap(first);
    expect(since()).toEqual([['unmapping', IOVA, VADDR + 4]]);
    container.space.stopListening(listener);
    expect(since()).toEqual([['unmapping', IOVA + 8, VADDR + 8]]);
    container.map(IOVA, 4, VADDR);
    expect(since()).toEqual([]);
  });
});
