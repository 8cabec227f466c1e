import { beforeEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/abi/errno.js';
import { writeStruct } from '../../src/abi/layout.js';
import {
  DirtyPagesFlag,
  DmaMapFlag,
  DmaUnmapFlag,
  IopfIoctl,
  Type1Ioctl,
  VfioExtension,
} from '../../src/abi/vfio.js';
import { DirtyBitmap, DirtyBitmapGet } from '../../src/abi/vfio-structs.js';
import type { VfioFile } from '../../src/file/file.js';
import { PAGE_SIZE, READ, WRITE } from '../../src/mm/address-space.js';
import type { DriverMemory, PciFunction } from '../../src/vfio/pci-function.js';
import { BUFFER, errnoOf, type GroupSpec, Kit, type KitOptions } from './kit.js';

const VADDR = BUFFER / PAGE_SIZE;
const IOVA = 0x100;
const frames = new Float64Array(512);
const RW = READ | WRITE;

let kit: Kit;
let memory: DriverMemory;
let unmapped: number[][];
let device: VfioFile;

/**
 * Makes the driver of a group's device one that pins; it unpins what an unmap tells it to. `keep`
 * gets what it pins with.
 */
function pinning(
  made: Kit,
  group: number,
  keep: (given: DriverMemory) => void = (given) => {
    memory = given;
  },
): void {
  const pciFunction = made.functions[group - 1] as PciFunction & { memory: DriverMemory };
  const open = pciFunction.open.bind(pciFunction);
  pciFunction.open = (sink, given) => {
    keep(given!);
    open(sink, given);
  };
  Object.defineProperty(pciFunction, 'dmaUnmap', {
    value: (page: number, pages: number) => {
      unmapped.push([page, pages]);
      memory.unpin(page, pages);
    },
  });
}

function open(options: KitOptions = {}, groups: readonly GroupSpec[] = [{}]): void {
  unmapped = [];
  kit = new Kit({ iopf: 'auto', groups, ...options });
  pinning(kit, 1);
  kit.addGroup(1);
  kit.setIommu();
  device = kit.openDevice(1);
  kit.map(IOVA, 8);
}

const state = () => [
  kit.counters.pinnedPages,
  kit.mm.lockedPages,
  kit.memory.pinned,
  kit.counters.residentPages,
];
const iommu = (group = 1) => kit.functions[group - 1]!.iommu;
const enable = () => kit.container.ioctl(kit.process, IopfIoctl.VFIO_IOMMU_ENABLE_IOPF, 0);
const disable = () => kit.container.ioctl(kit.process, IopfIoctl.VFIO_IOMMU_DISABLE_IOPF, 0);

/** The bits of eight pages that GET_BITMAP reports. */
function dirty(first = IOVA): number {
  const bytes = new Uint8Array(DirtyBitmap.size + DirtyBitmapGet.size);
  bytes.set(
    writeStruct(DirtyBitmap, {
      argsz: bytes.length,
      flags: DirtyPagesFlag.VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
    }),
  );
  const at = BUFFER + 100 * PAGE_SIZE;
  kit.mm.space.copyTo(at, new Uint8Array(8));
  const get = {
    iova: BigInt(first * PAGE_SIZE),
    size: BigInt(8 * PAGE_SIZE),
    'bitmap.pgsize': BigInt(PAGE_SIZE),
    'bitmap.size': 8n,
    'bitmap.data': BigInt(at),
  };
  bytes.set(writeStruct(DirtyBitmapGet, get), DirtyBitmap.size);
  kit.call(kit.container, Type1Ioctl.VFIO_IOMMU_DIRTY_PAGES, bytes);
  const bits = new Uint8Array(1);
  kit.mm.space.copyFrom(at, bits);
  return bits[0]!;
}

function startLog(): void {
  const flags = DirtyPagesFlag.VFIO_IOMMU_DIRTY_PAGES_FLAG_START;
  kit.callStruct(kit.container, Type1Ioctl.VFIO_IOMMU_DIRTY_PAGES, DirtyBitmap, {
    argsz: DirtyBitmap.size,
    flags,
  });
}

beforeEach(() => open());

describe('R6.2: a page that a driver pins itself', () => {
  it('is pinned, accounted and present, and gone with its last unpin', () => {
    expect(memory.pin(IOVA + 1, 2, WRITE, frames)).toBe(0);
    expect(state()).toEqual([2, 2, 2, 2]);
    expect(iommu().translate(IOVA + 2, WRITE)).toBe(frames[1]);
    expect(memory.pin(IOVA + 2, 1, READ, frames)).toBe(0);
    expect(state()).toEqual([2, 2, 2, 2]);
    memory.unpin(IOVA, 8);
    expect(state()).toEqual([1, 1, 1, 1]);
    expect(iommu().translate(IOVA + 1, READ)).toBe(-1);
    memory.unpin(IOVA + 2, 1);
    memory.unpin(IOVA + 2, 1);
    memory.unpin(0, 1);
    expect(state()).toEqual([0, 0, 0, 0]);
  });

  it('leaves what was faulted in beside it when it goes', () => {
    memory.pin(IOVA + 1, 1, WRITE, frames);
    for (const page of [IOVA, IOVA + 2]) expect(iommu().fault(page, WRITE)).toBe(true);
    memory.unpin(IOVA + 1, 1);
    expect([0, 1, 2].map((page) => iommu().translate(IOVA + page, READ) >= 0)).toEqual([
      ...[true, false, true],
    ]);
    expect(state()).toEqual([0, 0, 0, 2]);
  });

  it('stays present when the host takes the page away, and leads to the old frame', () => {
    memory.pin(IOVA + 1, 1, WRITE, frames);
    const frame = frames[0]!;
    iommu().fault(IOVA, WRITE);
    iommu().fault(IOVA + 2, WRITE);
    kit.mm.munmap(VADDR, 3);
    expect(iommu().translate(IOVA, READ)).toBe(-1);
    expect(iommu().translate(IOVA + 1, WRITE)).toBe(frame);
    expect(iommu().translate(IOVA + 2, READ)).toBe(-1);
    memory.unpin(IOVA + 1, 1);
    expect(state()).toEqual([0, 0, 0, 0]);
  });

  it('is pinned for all that its mapping allows, and not where the memory allows less, whatever was asked', () => {
    kit.mm.space.mprotect(VADDR + 3, 1, READ);
    memory.pin(IOVA + 2, 1, READ, frames);
    expect(iommu().translate(IOVA + 2, WRITE)).toBe(frames[0]);
    for (const asked of [READ, WRITE])
      expect(memory.pin(IOVA + 3, 1, asked, frames)).toBe(-Errno.EFAULT);
    expect(state()).toEqual([1, 1, 1, 1]);
  });

  it('is in the account once, whether its mapping is static or not', () => {
    memory.pin(IOVA + 1, 2, WRITE, frames);
    disable();
    expect(state()).toEqual([8, 8, 10, 8]);
    memory.pin(IOVA + 5, 1, WRITE, frames);
    memory.unpin(IOVA + 1, 1);
    expect(state()).toEqual([8, 8, 10, 8]);
    enable();
    expect(state()).toEqual([2, 2, 2, 8]);
    expect(iommu().translate(IOVA + 5, WRITE)).toBe(frames[0]);
    kit.mm.munmap(VADDR, 8);
    expect(state()).toEqual([2, 2, 2, 2]);
    memory.unpin(IOVA, 8);
    expect(state()).toEqual([0, 0, 0, 0]);
  });

  it('R5.10: a DISABLE that fails leaves it as it was', () => {
    memory.pin(IOVA + 1, 1, WRITE, frames);
    kit.mm.munmap(VADDR + 7, 1);
    expect(errnoOf(disable)).toBe('EFAULT');
    expect(state()).toEqual([1, 1, 1, 1]);
    expect(iommu().translate(IOVA + 1, WRITE)).toBe(frames[0]);
    expect(iommu().fault(IOVA + 2, WRITE)).toBe(true);
  });

  it('R5.10: the mapping before one that fails is evictable again, with its pins', () => {
    memory.pin(IOVA + 1, 1, WRITE, frames);
    kit.map(IOVA + 0x100, 1, 500);
    kit.mm.munmap(VADDR + 500, 1);
    expect(errnoOf(disable)).toBe('EFAULT');
    expect(state()).toEqual([1, 1, 1, 8]);
    expect(iommu().translate(IOVA + 1, WRITE)).toBe(frames[0]);
  });

  it('R7.2: is mapped in a domain that comes later', () => {
    open({}, [
      {},
      {
        geometry: {
          addressWidth: 47,
          pageSizes: PAGE_SIZE,
          reserved: [],
          snoopControl: false,
          interruptRemapping: true,
        },
      },
    ]);
    memory.pin(IOVA + 1, 1, WRITE, frames);
    iommu().fault(IOVA, WRITE);
    kit.addGroup(2);
    expect(iommu(2).translate(IOVA + 1, WRITE)).toBe(frames[0]);
    expect(iommu(2).translate(IOVA, WRITE)).toBe(-1);
  });

  it('is not accounted where it is no memory', () => {
    kit.mm.mmapDevice(VADDR + 64, 1, {
      protection: READ,
      isDecoding: () => true,
      close: () => {},
    });
    kit.map(IOVA + 0x100, 1, 64, READ);
    memory.pin(IOVA + 0x100, 1, READ, frames);
    expect([kit.counters.pinnedPages, kit.mm.lockedPages]).toEqual([1, 0]);
    disable();
    expect([kit.counters.pinnedPages, kit.mm.lockedPages]).toEqual([9, 8]);
    enable();
    expect([kit.counters.pinnedPages, kit.mm.lockedPages]).toEqual([1, 0]);
    memory.unpin(IOVA + 0x100, 1);
    expect([kit.counters.pinnedPages, kit.mm.lockedPages]).toEqual([0, 0]);
  });

  it('waits for no fault: one that is under way finds it there', () => {
    memory.pin(IOVA, 1, WRITE, frames);
    expect(iommu().fault(IOVA, WRITE)).toBe(true);
    expect(kit.counters.pagesFaultedIn).toBe(0);
  });
});

describe('R6.2: pinning answers', () => {
  it('EINVAL where nothing is mapped, EPERM where the mapping allows less, and unpins what it had', () => {
    kit.map(IOVA + 0x100, 1, 8, READ);
    expect(memory.pin(IOVA + 7, 2, WRITE, frames)).toBe(-Errno.EINVAL);
    expect(memory.pin(IOVA + 0x100, 1, WRITE, frames)).toBe(-Errno.EPERM);
    expect(memory.pin(IOVA, 0, WRITE, frames)).toBe(-Errno.EINVAL);
    expect(memory.pin(IOVA, 513, WRITE, frames)).toBe(-Errno.E2BIG);
    expect(state()).toEqual([0, 0, 0, 0]);
  });

  it('ENOMEM beyond RLIMIT_MEMLOCK, and nothing is pinned', () => {
    Object.assign(kit.mm.space, { lockLimitPages: 2, ipcLock: false });
    open2();
    expect(memory.pin(IOVA, 3, WRITE, frames)).toBe(-Errno.ENOMEM);
    expect(state()).toEqual([0, 0, 0, 0]);
    expect(memory.pin(IOVA, 2, WRITE, frames)).toBe(0);
  });

  it('EACCES for a type1 of version 1, EBUSY while an address is invalid', () => {
    kit = new Kit({ iopf: 'auto' });
    pinning(kit, 1);
    kit.addGroup(1);
    kit.setIommu(VfioExtension.VFIO_TYPE1_IOMMU);
    kit.openDevice(1);
    kit.map(IOVA, 1);
    expect(memory.pin(IOVA, 1, READ, frames)).toBe(-Errno.EACCES);
    open();
    kit.unmap(IOVA, 8, DmaUnmapFlag.VFIO_DMA_UNMAP_FLAG_VADDR);
    expect(memory.pin(IOVA, 1, READ, frames)).toBe(-Errno.EBUSY);
    expect(memory.read(IOVA * PAGE_SIZE, new Uint8Array(1))).toBe(-Errno.EBUSY);
  });

  it('EBUSY to who makes the address of a page invalid that is pinned', () => {
    memory.pin(IOVA, 1, READ, frames);
    expect(errnoOf(() => kit.unmap(IOVA, 8, DmaUnmapFlag.VFIO_DMA_UNMAP_FLAG_VADDR))).toBe('EBUSY');
    memory.unpin(IOVA, 1);
    expect(kit.unmap(IOVA, 8, DmaUnmapFlag.VFIO_DMA_UNMAP_FLAG_VADDR)).toBe(8);
  });

  it('EINVAL to a driver that does not want to hear of unmaps', () => {
    kit = new Kit({ iopf: 'auto' });
    const pciFunction = kit.functions[0]!;
    const plain = pciFunction.open.bind(pciFunction);
    pciFunction.open = (sink, given) => {
      memory = given!;
      plain(sink, given);
    };
    kit.ready();
    kit.openDevice(1);
    kit.map(IOVA, 1);
    expect(memory.pin(IOVA, 1, READ, frames)).toBe(-Errno.EINVAL);
    expect(errnoOf(() => kit.unmap(IOVA, 1))).toBeNull();
  });

  it('EINVAL once the device is closed', () => {
    device.release();
    expect(memory.pin(IOVA, 1, READ, frames)).toBe(-Errno.EINVAL);
  });
});

describe('R6.2: UNMAP_DMA of a mapping with pins', () => {
  it('has the driver unpin first', () => {
    memory.pin(IOVA + 1, 1, WRITE, frames);
    expect(kit.unmap(IOVA, 8)).toBe(8);
    expect(unmapped).toEqual([[IOVA, 8]]);
    expect(state()).toEqual([0, 0, 0, 0]);
  });

  it('tells no driver whose device has been closed', () => {
    open({}, [{}, {}]);
    pinning(kit, 2);
    kit.addGroup(2);
    kit.openDevice(2);
    device.release();
    unmapped.length = 0;
    expect(memory.pin(IOVA + 1, 1, WRITE, frames)).toBe(0);
    expect(kit.unmap(IOVA, 8)).toBe(8);
    expect(unmapped).toEqual([[IOVA, 8]]);
    expect(state()).toEqual([0, 0, 0, 0]);
  });

  it('tells nobody where there are none', () => {
    kit.unmap(IOVA, 8);
    expect(unmapped).toEqual([]);
  });

  it('is a defect of a driver that keeps them', () => {
    memory.pin(IOVA + 1, 1, WRITE, frames);
    memory.pin(IOVA + 1, 1, WRITE, frames);
    expect(() => kit.unmap(IOVA, 8)).toThrow('a driver keeps pages pinned');
  });
});

describe('R6.2: the CPU reads and writes the container (vfio_dma_rw)', () => {
  it('across mappings, without pins', () => {
    kit.map(IOVA + 8, 1, 20);
    const bytes = new Uint8Array(PAGE_SIZE).fill(0x5a);
    const at = (IOVA + 8) * PAGE_SIZE - 100;
    expect(memory.write(at, bytes)).toBe(0);
    const [inside, behind] = [new Uint8Array(101), new Uint8Array(PAGE_SIZE - 99)];
    kit.mm.space.copyFrom(BUFFER + 8 * PAGE_SIZE - 101, inside);
    kit.mm.space.copyFrom(BUFFER + 20 * PAGE_SIZE, behind);
    expect([...inside]).toEqual([0, ...bytes.subarray(0, 100)]);
    expect([...behind]).toEqual([...bytes.subarray(100), 0]);
    const back = new Uint8Array(PAGE_SIZE);
    expect(memory.read(at, back)).toBe(0);
    expect(Buffer.compare(back, bytes)).toBe(0);
    expect(state()).toEqual([0, 0, 0, 0]);
  });

  it('and is told EINVAL, EPERM and EFAULT', () => {
    kit.map(IOVA + 8, 1, 20, READ);
    const byte = new Uint8Array(1);
    expect(memory.read(IOVA * PAGE_SIZE, new Uint8Array(0))).toBe(-Errno.EINVAL);
    expect(memory.read(0, byte)).toBe(-Errno.EINVAL);
    expect(memory.write((IOVA + 8) * PAGE_SIZE, byte)).toBe(-Errno.EPERM);
    kit.mm.munmap(VADDR, 1);
    expect(memory.read(IOVA * PAGE_SIZE, byte)).toBe(-Errno.EFAULT);
    kit.map(IOVA + 9, 1, 21, WRITE);
    expect(memory.read((IOVA + 9) * PAGE_SIZE, byte)).toBe(-Errno.EPERM);
    expect(memory.write((IOVA + 9) * PAGE_SIZE, byte)).toBe(-Errno.EPERM);
  });

  it('R6.3: what it writes is dirty', () => {
    startLog();
    memory.write((IOVA + 3) * PAGE_SIZE - 1, new Uint8Array(2));
    memory.read((IOVA + 5) * PAGE_SIZE, new Uint8Array(2));
    expect(dirty()).toBe(0b1100);
    expect(dirty()).toBe(0);
  });
});

describe('R6.3: pages that a driver has pinned in the dirty log', () => {
  it('are dirty for as long as they are pinned, others only when they are written', () => {
    memory.pin(IOVA + 1, 1, READ, frames);
    startLog();
    memory.pin(IOVA + 2, 1, READ, frames);
    expect(iommu().translate(IOVA + 1, WRITE)).toBeGreaterThanOrEqual(0);
    iommu().fault(IOVA + 4, WRITE);
    iommu().fault(IOVA + 5, READ);
    expect(dirty()).toBe(0b10110);
    expect(dirty()).toBe(0b110);
    memory.unpin(IOVA + 1, 1);
    expect(dirty()).toBe(0b110);
    expect(dirty()).toBe(0b100);
  });

  it('are all that a static mapping reports where every driver pins what its device writes', () => {
    open({ iopf: 'off' });
    memory.pin(IOVA + 1, 1, READ, frames);
    startLog();
    expect(dirty()).toBe(0b10);
    memory.unpin(IOVA + 1, 1);
    expect([dirty(), dirty()]).toEqual([0b10, 0]);
  });

  it('say nothing of the others where a device writes what nobody pins', () => {
    open({ iopf: 'off' }, [{}, {}]);
    kit.addGroup(2);
    memory.pin(IOVA + 1, 1, READ, frames);
    startLog();
    expect(dirty()).toBe(0xff);
    kit.closeGroup(2);
    // It has written who knows what; from then on it cannot.
    expect(dirty()).toBe(0xff);
    expect(dirty()).toBe(0b10);
  });

  it('speak for a group no longer once it has left', () => {
    open({ iopf: 'off' }, [{}, {}]);
    let other = memory;
    pinning(kit, 2, (given) => {
      other = given;
    });
    kit.addGroup(2);
    const second = kit.openDevice(2);
    memory.pin(IOVA + 1, 1, READ, frames);
    other.pin(IOVA + 3, 1, READ, frames);
    startLog();
    expect(dirty()).toBe(0b1010);
    other.unpin(IOVA + 3, 1);
    second.release();
    kit.closeGroup(2);
    dirty();
    expect(dirty()).toBe(0b10);
    kit.addGroup(2);
    expect(dirty()).toBe(0xff);
  });

  it('R5.3: say the same after a group could not join', () => {
    open({}, [{}, {}]);
    kit.map(IOVA + 8, 8, 8, RW | DmaMapFlag.VFIO_DMA_MAP_FLAG_PINNED);
    memory.pin(IOVA + 1, 1, READ, frames);
    startLog();
    dirty(IOVA + 8);
    iommu(2).enableIopf(); // somebody else's
    expect(errnoOf(() => kit.addGroup(2))).toBe('EBUSY');
    expect(dirty(IOVA + 8)).toBe(0);
  });

  it('leave alone what faults when a group goes', () => {
    open({}, [{}, {}]);
    kit.addGroup(2);
    startLog();
    iommu(2).fault(IOVA + 2, WRITE);
    kit.closeGroup(2);
    expect(dirty()).toBe(0b100);
  });

  it('do not speak for a device that faults on a part of its accesses', () => {
    open({ iopf: 'off' });
    iommu().group!.faultable = [{ first: 0, end: 1 }];
    memory.pin(IOVA + 1, 1, READ, frames);
    startLog();
    expect(dirty()).toBe(0xff);
  });
});

function open2(): void {
  kit.unmap(IOVA, 8);
  kit.map(IOVA, 8, 0, RW);
}

it('R7.2: a mapping that is pinned by flag takes pins too', () => {
  kit.map(IOVA + 0x100, 2, 32, RW | DmaMapFlag.VFIO_DMA_MAP_FLAG_PINNED);
  memory.pin(IOVA + 0x100, 1, WRITE, frames);
  expect(state()).toEqual([2, 2, 3, 2]);
  kit.unmap(IOVA + 0x100, 2);
  expect(unmapped).toEqual([[IOVA + 0x100, 2]]);
  expect(state()).toEqual([0, 0, 0, 0]);
});
