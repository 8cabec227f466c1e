/**
 * Every copy, pin, descriptor and eventfd that a call asks for fails in turn (as the kernel's
 * fail-nth does for allocations).
 */
import { describe, expect, it } from 'vitest';
import { writeStruct } from '../../src/abi/layout.js';
import { DeviceIoctl, IopfIoctl, Type1Ioctl } from '../../src/abi/vfio.js';
import {
  DirtyBitmap,
  DirtyBitmapGet,
  DmaUnmap,
  IommuType1Info,
  IrqSet,
  RegionInfo,
  VfioBitmap,
} from '../../src/abi/vfio-structs.js';
import { EventFile, OpenFile } from '../../src/conformance/process.js';
import { PAGE_SIZE, READ, WRITE } from '../../src/mm/address-space.js';
import { type Injection, inject } from './injection.js';
import { BUFFER, errnoOf, Kit, type KitOptions } from './kit.js';

/** A call that is tried with every failure. */
interface Scenario {
  readonly name: string;
  readonly options?: KitOptions;
  /** Brings the kit to the state before the call, and returns the call. */
  readonly prepare: (kit: Kit) => () => unknown;
  /** What it may have changed where it could only not be told (see the call's docs). */
  readonly changedAfter?: Injection['failed'];
  /**
   * Pages that nobody asked for may be present afterwards, as a fault would bring them in:
   * evictable, and not accounted.
   */
  readonly mayFaultIn?: boolean;
}

const range = { iova: 0x100 * PAGE_SIZE, size: 600 * PAGE_SIZE };
const off: KitOptions = { iopf: 'off' };
const userBitmap = { pgsize: PAGE_SIZE, size: 128, data: BUFFER };

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

const scenarios: readonly Scenario[] = [
  {
    name: 'SET_CONTAINER',
    options: off,
    prepare: (kit) => {
      kit.openGroup(1);
      return () => kit.setContainer(1);
    },
  },
  {
    name: 'MAP_DMA of two batches',
    options: off,
    prepare: (kit) => {
      kit.ready();
      return () => kit.map(0x100, 600);
    },
  },
  {
    name: 'MAP_DMA of a pinned mapping with IOPF on',
    prepare: (kit) => {
      kit.ready();
      return () => kit.map(0x100, 600, 0, READ | WRITE | 8);
    },
  },
  {
    name: 'MAP_DMA with IOPF on',
    prepare: (kit) => {
      kit.ready();
      return () => kit.map(0x100, 600);
    },
  },
  {
    name: 'MAP_DMA that gives a new address',
    options: off,
    prepare: (kit) => {
      kit.ready().map(0x100, 4);
      kit.unmap(0x100, 4, 4);
      return () => kit.map(0x100, 4, 8, 4);
    },
  },
  {
    name: 'UNMAP_DMA',
    options: off,
    prepare: (kit) => {
      kit.ready().map(0x100, 600);
      return () => kit.unmap(0x100, 600);
    },
    changedAfter: 'copyTo',
  },
  {
    name: 'UNMAP_DMA with a bitmap',
    options: off,
    prepare: (kit) => {
      kit.ready().map(0x103, 590);
      dirtyLog(kit);
      const argsz = DmaUnmap.size + VfioBitmap.size;
      const bytes = joined(
        writeStruct(DmaUnmap, { argsz, flags: 1, ...range }),
        writeStruct(VfioBitmap, userBitmap),
      );
      return () => kit.call(kit.container, Type1Ioctl.VFIO_IOMMU_UNMAP_DMA, bytes);
    },
    changedAfter: 'copyTo',
  },
  {
    name: 'DIRTY_PAGES that gets a bitmap',
    options: off,
    prepare: (kit) => {
      kit.ready().map(0x103, 590);
      dirtyLog(kit);
      const argsz = DirtyBitmap.size + DirtyBitmapGet.size;
      const get = writeStruct(DirtyBitmapGet, range).subarray(
        0,
        DirtyBitmapGet.at['bitmap.pgsize'],
      );
      const bytes = joined(
        writeStruct(DirtyBitmap, { argsz, flags: 4 }),
        get,
        writeStruct(VfioBitmap, userBitmap),
      );
      return () => kit.call(kit.container, Type1Ioctl.VFIO_IOMMU_DIRTY_PAGES, bytes);
    },
  },
  {
    name: 'IOMMU_GET_INFO with its chain',
    prepare: (kit) => {
      const bytes = joined(writeStruct(IommuType1Info, { argsz: 256 }), new Uint8Array(232));
      kit.ready();
      return () => kit.call(kit.container, Type1Ioctl.VFIO_IOMMU_GET_INFO, bytes);
    },
  },
  {
    name: 'GET_DEVICE_FD',
    prepare: (kit) => {
      kit.ready();
      return () => kit.openDevice(1);
    },
  },
  {
    name: 'GET_REGION_INFO',
    prepare: (kit) => {
      const device = kit.ready().openDevice(1);
      const bytes = writeStruct(RegionInfo, { argsz: RegionInfo.size });
      return () => kit.call(device, DeviceIoctl.VFIO_DEVICE_GET_REGION_INFO, bytes);
    },
  },
  {
    name: 'SET_IRQS with an eventfd',
    prepare: (kit) => {
      const device = kit.ready().openDevice(1);
      const fd = kit.process.add(new OpenFile(new EventFile()));
      const bytes = joined(
        writeStruct(IrqSet, { argsz: IrqSet.size + 4, flags: 0x24, index: 1, start: 0, count: 1 }),
        Uint8Array.of(fd, 0, 0, 0),
      );
      return () => kit.call(device, DeviceIoctl.VFIO_DEVICE_SET_IRQS, bytes);
    },
  },
  {
    name: 'pread and pwrite of a register',
    prepare: (kit) => {
      const device = kit.ready().openDevice(1);
      return () => {
        device.write(kit.process, BUFFER, 4, 8);
        device.read(kit.process, BUFFER, 4, 8);
      };
    },
  },
  {
    name: 'R5.10: DISABLE_IOPF of two mappings',
    options: { iopf: 'ask' },
    prepare: (kit) => {
      kit.ready();
      kit.container.ioctl(kit.process, IopfIoctl.VFIO_IOMMU_ENABLE_IOPF, 0);
      kit.map(0x100, 600);
      kit.map(0x1000, 8);
      return () => kit.container.ioctl(kit.process, IopfIoctl.VFIO_IOMMU_DISABLE_IOPF, 0);
    },
    mayFaultIn: true,
  },
];

function dirtyLog(kit: Kit): void {
  const bytes = writeStruct(DirtyBitmap, { argsz: DirtyBitmap.size, flags: 1 });
  kit.call(kit.container, Type1Ioctl.VFIO_IOMMU_DIRTY_PAGES, bytes);
}

/** Everything that a failed call may not have changed. */
function snapshot(kit: Kit, mayFaultIn: boolean): unknown {
  const { counters, memory, mm, functions } = kit;
  return {
    locked: mm.lockedPages,
    pinned: memory.pinned,
    counted: [counters.mappedPages, counters.pinnedPages],
    present: mayFaultIn ? null : functions.map((each) => each.iommu.domain?.pages ?? null),
    iopf: functions.map((each) => each.iommu.iopfEnabled),
    group: errnoOf(() => kit.machine.openGroup(1).release()),
  };
}

describe('a call in which something fails', () => {
  it.each(scenarios)('$name: has changed nothing, and nothing leaks', (scenario) => {
    let tried = 0;
    while (failsAt(scenario, tried)) tried++;
    expect(tried).toBeGreaterThan(0);
  });
});

/**
 * Lets the nth request of the call fail and looks at what is left; false: it does not ask for so
 * much.
 */
function failsAt(scenario: Scenario, nth: number): boolean {
  const { options, prepare, changedAfter, mayFaultIn = false } = scenario;
  const kit = new Kit(options);
  const call = prepare(kit);
  const before = snapshot(kit, mayFaultIn);
  const injection = inject(kit);
  injection.left = nth;
  const errno = errnoOf(call);
  injection.left = Number.POSITIVE_INFINITY;
  if (injection.failed === null) return false;
  expect(['EFAULT', 'ENOMEM', 'EMFILE']).toContain(errno);
  if (injection.failed !== changedAfter) expect(snapshot(kit, mayFaultIn)).toEqual(before);
  kit.process.exit();
  expect([kit.memory.pinned, kit.counters.pinnedPages, kit.counters.mappedPages]).toEqual([
    0, 0, 0,
  ]);
  for (const { iommu } of kit.functions)
    expect([iommu.domain, iommu.iopfEnabled]).toEqual([null, false]);
  expect(kit.mm.space.notifierCount).toBe(0);
  return true;
}
