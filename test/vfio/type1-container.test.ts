import { describe, expect, it, vi } from 'vitest';
import { fail } from '../../src/abi/errno.js';
import { writeStruct } from '../../src/abi/layout.js';
import { IopfIoctl, Type1Ioctl, VfioExtension } from '../../src/abi/vfio.js';
import { DirtyBitmap, DmaMap } from '../../src/abi/vfio-structs.js';
import { eduCopy } from '../../src/conformance/edu-copy.js';
import { Process } from '../../src/conformance/process.js';
import type { Caller } from '../../src/file/caller.js';
import { commonRanges } from '../../src/ioas/iova-ranges.js';
import { MappingIndex } from '../../src/ioas/mapping-index.js';
import { defaultGeometry, type IommuProperties } from '../../src/iommu/geometry.js';
import { PAGE_SIZE, READ, WRITE } from '../../src/mm/address-space.js';
import { BUFFER, BUFFER_PAGES, errnoOf, Kit } from './kit.js';

/** An IOMMU that cannot share a page table with the default one. */
const snooping: IommuProperties = { ...defaultGeometry, snoopControl: true };
const narrow: IommuProperties = { ...defaultGeometry, addressWidth: 39 };
const START_LOG = 1;

function dirtyLog(kit: Kit, flags: number): void {
  kit.callStruct(kit.container, Type1Ioctl.VFIO_IOMMU_DIRTY_PAGES, DirtyBitmap, {
    argsz: DirtyBitmap.size,
    flags,
  });
}

describe('groups behind IOMMUs that are not alike', () => {
  it('get domains of their own, into which everything that is pinned is replayed', () => {
    const kit = new Kit({ iopf: 'off', groups: [{}, { geometry: snooping }] }).ready();
    kit.mm.space.fillPages(BUFFER / PAGE_SIZE, 700, 0x66);
    kit.map(0x1000, 700);
    kit.addGroup(2);
    kit.openDevice(2);
    expect(kit.functions[0]!.iommu.domain).not.toBe(kit.functions[1]!.iommu.domain);
    expect(kit.functions[1]!.iommu.domain?.pages).toBe(700);
    expect(kit.counters.pinnedPages).toBe(700);
    eduCopy(kit.functions[1]!, 0x1000 * PAGE_SIZE, 0x1200 * PAGE_SIZE, 16);
    expect(kit.unmap(0x1000, 700)).toBe(700);
    expect(kit.functions.map((each) => each.iommu.domain?.pages)).toEqual([0, 0]);
  });

  it('R5.5: with IOPF on the new domain starts empty, and only pinned mappings are replayed', () => {
    const kit = new Kit({ groups: [{}, { geometry: snooping }] }).ready();
    kit.openDevice(1);
    kit.map(0x100, 8);
    kit.map(0x200, 4, 8, READ | WRITE | 8);
    eduCopy(kit.functions[0]!, 0x100 * PAGE_SIZE, 0x101 * PAGE_SIZE, 16);
    kit.addGroup(2);
    expect(kit.functions[1]!.iommu.domain?.pages).toBe(4);
    kit.openDevice(2);
    eduCopy(kit.functions[1]!, 0x100 * PAGE_SIZE, 0x101 * PAGE_SIZE, 16);
    expect(kit.functions[1]!.iommu.domain?.pages).toBe(6);
  });

  it('R5.1: DISABLE and ENABLE switch the devices of every domain', () => {
    const kit = new Kit({ groups: [{}, { geometry: snooping }] }).ready();
    kit.addGroup(2);
    kit.map(0x100, 8);
    const on = (): boolean[] => kit.functions.map(({ iommu }) => iommu.iopfEnabled);
    expect(on()).toEqual([true, true]);
    kit.container.ioctl(kit.process, IopfIoctl.VFIO_IOMMU_DISABLE_IOPF, 0);
    expect(on()).toEqual([false, false]);
    expect(kit.functions.map(({ iommu }) => iommu.domain?.pages)).toEqual([8, 8]);
    kit.container.ioctl(kit.process, IopfIoctl.VFIO_IOMMU_ENABLE_IOPF, 0);
    expect(on()).toEqual([true, true]);
    expect(kit.counters.pinnedPages).toBe(0);
  });

  it('VFIO_DMA_CC_IOMMU holds only where all of them force coherency', () => {
    const kit = new Kit({ iopf: 'off', groups: [{ geometry: snooping }, {}] }).ready();
    expect(kit.checkExtension(VfioExtension.VFIO_DMA_CC_IOMMU)).toBe(1);
    kit.addGroup(2);
    expect(kit.checkExtension(VfioExtension.VFIO_DMA_CC_IOMMU)).toBe(0);
  });

  it('the narrower one limits what can be mapped, and gives it back when it leaves', () => {
    const kit = new Kit({ iopf: 'off', groups: [{}, { geometry: narrow }] }).ready();
    kit.addGroup(2);
    const beyond = 2 ** 27;
    expect(errnoOf(() => kit.map(beyond, 1))).toBe('EINVAL');
    kit.closeGroup(2);
    expect(errnoOf(() => kit.map(beyond, 1))).toBeNull();
    expect(errnoOf(() => kit.addGroup(2))).toBe('EINVAL');
    expect(kit.functions[1]!.iommu.domain).toBeNull();
  });

  it('one that leaves takes its domain along, and pages that others have stay', () => {
    const kit = new Kit({ iopf: 'off', groups: [{}, { geometry: snooping }] }).ready();
    kit.addGroup(2);
    kit.map(0x100, 4);
    kit.closeGroup(1);
    expect(kit.functions[1]!.iommu.domain?.pages).toBe(4);
    expect(kit.unmap(0x100, 4)).toBe(4);
    expect([kit.counters.pinnedPages, kit.memory.pinned]).toEqual([0, 0]);
  });
});

describe('a mapping', () => {
  it('of 1 TiB has no bitmap until it is touched, and then that of the 128 MiB around', () => {
    const made = vi.spyOn(MappingIndex.prototype, 'insert');
    const kit = new Kit().ready();
    kit.mm.mmap(2 ** 30, 2 ** 28, 'anon', READ | WRITE);
    kit.callStruct(kit.container, Type1Ioctl.VFIO_IOMMU_MAP_DMA, DmaMap, {
      argsz: DmaMap.size,
      flags: READ | WRITE,
      vaddr: 2 ** 42,
      iova: 2 ** 40,
      size: 2 ** 40,
    });
    expect(kit.counters.mappedPages).toBe(2 ** 28);
    const [mapping] = made.mock.lastCall!;
    made.mockRestore();
    expect(mapping.pages).toBe(2 ** 28);
    // Of the bitmap's chunks, 4 KiB for each 32,768 pages, only those that are there.
    const chunks = () => Object.keys(mapping.mapped['chunks']);
    expect(chunks()).toEqual([]);
    const last = 2 ** 28 + 2 ** 28 - 1;
    expect(kit.functions[0]!.iommu.fault(last, READ)).toBe(true);
    expect(mapping.mapped['chunks'].filter((chunk) => chunk !== null)).toHaveLength(1);
  });

  it('that fails at its last page leaves no pin, no account and no translation', () => {
    const kit = new Kit({ iopf: 'off' }).ready();
    expect(errnoOf(() => kit.map(0, BUFFER_PAGES + 1))).toBe('EFAULT');
    expect([kit.memory.pinned, kit.mm.lockedPages, kit.functions[0]!.iommu.domain?.pages]).toEqual([
      0, 0, 0,
    ]);
    expect([kit.counters.pinnedPages, kit.counters.mappedPages]).toEqual([0, 0]);
    kit.map(0, BUFFER_PAGES);
    expect(kit.mm.lockedPages).toBe(BUFFER_PAGES);
  });

  it('that is larger than the log can be is refused while the dirty log is on, and keeps it from starting', () => {
    const kit = new Kit().ready();
    const huge = 2 ** 31;
    kit.map(0x10_0000, huge);
    expect(errnoOf(() => dirtyLog(kit, START_LOG))).toBe('EINVAL');
    kit.unmap(0x10_0000, huge);
    dirtyLog(kit, START_LOG);
    expect(errnoOf(() => kit.map(0x10_0000, huge))).toBe('EINVAL');
    expect(kit.counters.mappedPages).toBe(0);
    expect(errnoOf(() => kit.map(0, 1))).toBeNull();
  });
});

describe('VFIO_DMA_MAP_FLAG_VADDR with IOPF on', () => {
  it('lets the device fault at the new address', () => {
    const kit = new Kit().ready();
    kit.openDevice(1);
    kit.mm.space.fillPages(BUFFER / PAGE_SIZE, 1, 0x11);
    kit.mm.space.fillPages(BUFFER / PAGE_SIZE + 100, 1, 0x22);
    kit.map(0x100, 2);
    eduCopy(kit.functions[0]!, 0x100 * PAGE_SIZE, 0x101 * PAGE_SIZE, 16);
    expect(kit.unmap(0x100, 2, 4)).toBe(2);
    kit.map(0x100, 2, 100, 4);
    expect(kit.counters.residentPages).toBe(0);
    eduCopy(kit.functions[0]!, 0x100 * PAGE_SIZE, 0x101 * PAGE_SIZE, 16);
    const bytes = new Uint8Array(1);
    kit.mm.copyFrom(BUFFER + 101 * PAGE_SIZE, bytes);
    expect(bytes[0]).toBe(0x22);
  });

  it('lets a group come once every address is valid again, moved or unmapped', () => {
    const kit = new Kit({ groups: [{}, {}, {}] }).ready();
    kit.map(0x100, 2);
    kit.map(0x200, 2, 8);
    kit.unmap(0x100, 2, 4);
    kit.unmap(0x200, 2, 4);
    expect(errnoOf(() => kit.addGroup(2))).toBe('EBUSY');
    kit.map(0x100, 2, 100, 4);
    expect(errnoOf(() => kit.setContainer(2))).toBe('EBUSY');
    kit.unmap(0x200, 2);
    expect(errnoOf(() => kit.setContainer(2))).toBeNull();
    expect(errnoOf(() => kit.addGroup(3))).toBeNull();
  });
});

describe('VFIO_DMA_MAP_FLAG_VADDR of what is pinned', () => {
  it('makes the process that gives the new address pay, and who maps there no other', () => {
    const kit = new Kit({ iopf: 'off' }).ready();
    kit.map(0x100, 4);
    const next = new Process(kit.newMemory());
    const update = (who: Process, iova: number, size: number): string | null => {
      const bytes = writeStruct(DmaMap, {
        ...{ argsz: DmaMap.size, flags: 4, vaddr: BUFFER },
        ...{ iova: iova * PAGE_SIZE, size: size * PAGE_SIZE },
      });
      who.mm.space.copyTo(BUFFER, bytes);
      return errnoOf(() => kit.container.ioctl(who, Type1Ioctl.VFIO_IOMMU_MAP_DMA, BUFFER));
    };
    const locked = () => [kit.mm.lockedPages, next.mm.lockedPages];
    expect(update(next, 0x100, 4)).toBe('EINVAL');
    kit.unmap(0x100, 4, 4);
    expect([update(next, 0x200, 4), update(next, 0x100, 3), update(next, 0x101, 3)]).toEqual([
      ...['ENOENT', 'EINVAL', 'EINVAL'],
    ]);
    expect(locked()).toEqual([4, 0]);
    expect(update(next, 0x100, 4)).toBeNull();
    expect(locked()).toEqual([0, 4]);
    expect(kit.unmap(0x100, 4)).toBe(4);
    expect([...locked(), kit.memory.pinned]).toEqual([0, 0, 0]);
  });
});

describe('an address space without reserved frames', () => {
  it('has every pinned page in its account', () => {
    const kit = new Kit({ iopf: 'off' }).ready();
    const { space } = kit.mm;
    const caller: Caller = {
      mm: space,
      sysResource: false,
      file: () => null,
      install: () => fail('EMFILE'),
      reserve: () => fail('EMFILE'),
    };
    space.copyTo(
      BUFFER,
      writeStruct(DmaMap, {
        argsz: DmaMap.size,
        flags: READ,
        vaddr: BUFFER,
        iova: 0x1000,
        size: 0x3000,
      }),
    );
    kit.container.ioctl(caller, Type1Ioctl.VFIO_IOMMU_MAP_DMA, BUFFER);
    expect(space.lockedPages).toBe(3);
  });
});

describe('IOVA ranges', () => {
  const reserving = (firstPage: number, pages: number): IommuProperties => ({
    ...defaultGeometry,
    reserved: [{ firstPage, pages, kind: 'reserved' }],
  });

  it.each([
    ['at the start', reserving(0, 16), [{ first: 16, end: 2 ** 36 }]],
    ['at the end', reserving(2 ** 36 - 16, 32), [{ first: 0, end: 2 ** 36 - 16 }]],
    ['everywhere', reserving(0, 2 ** 36), []],
    ['beyond what can be addressed', reserving(2 ** 36, 16), [{ first: 0, end: 2 ** 36 }]],
  ])('leave out what is reserved %s', (_, geometry, ranges) => {
    expect(commonRanges([geometry])).toEqual(ranges);
  });

  it('are none without an IOMMU', () => {
    expect(commonRanges([])).toEqual([]);
  });
});

describe('a container whose groups cannot all be attached', () => {
  it('fails SET_IOMMU and has attached none', () => {
    const unsafe: IommuProperties = { ...defaultGeometry, interruptRemapping: false };
    const kit = new Kit({ iopf: 'off', groups: [{}, { geometry: unsafe }] });
    kit.addGroup(1);
    kit.addGroup(2);
    expect(errnoOf(() => kit.setIommu())).toBe('EPERM');
    expect(kit.functions.map((each) => each.iommu.domain)).toEqual([null, null]);
    kit.machine.allowUnsafeInterrupts(true);
    expect(errnoOf(() => kit.setIommu())).toBeNull();
  });
});
