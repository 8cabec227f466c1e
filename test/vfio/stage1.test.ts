import { beforeEach, describe, expect, it } from 'vitest';
import { HWPT_DATA_VTD_S1 } from '../../src/abi/iommufd.js';
import {
  HwptPageResponse,
  HwptPgfault,
  HwptVtdS1,
  HwptVtdS1Invalidate,
} from '../../src/abi/iommufd-structs.js';
import { writeStruct } from '../../src/abi/layout.js';
import { PciConfig, PciRegionIndex } from '../../src/abi/pci.js';
import {
  IopfIoctl,
  REGION_OFFSET,
  Stage1DeviceIoctl,
  Stage1Ioctl,
  VfioExtension,
} from '../../src/abi/vfio.js';
import {
  Stage1Alloc,
  Stage1Attach,
  Stage1Detach,
  Stage1Invalidate,
} from '../../src/abi/vfio-structs.js';
import type { VfioFile } from '../../src/file/file.js';
import { PAGE_SIZE, READ } from '../../src/mm/address-space.js';
import { BUFFER, errnoOf, Kit } from './kit.js';

/** IOVA of the table; buffer page 0. */
const TABLE = 0x100;
const DATA_AT = 0x3000_0000;
const { VFIO_TYPE1_NESTING_IOMMU, VFIO_TYPE1v2_IOMMU } = VfioExtension;

let kit: Kit;

function nestedKit(groups: { canFault?: boolean }[] = [{}]): Kit {
  const made = new Kit({ groups, iopf: 'auto' });
  for (let group = 1; group <= groups.length; group++) made.addGroup(group);
  made.setIommu(VFIO_TYPE1_NESTING_IOMMU);
  made.mm.mmap(DATA_AT / PAGE_SIZE, 2, 'anon', 3);
  return made;
}

beforeEach(() => {
  kit = nestedKit();
  kit.map(TABLE, 8);
});

interface Alloc {
  readonly argsz?: number;
  readonly flags?: number;
  readonly type?: number;
  readonly length?: number;
  readonly table?: Record<string, number | bigint>;
}

function alloc(over: Alloc = {}): number {
  const bytes = new Uint8Array(Stage1Alloc.size + HwptVtdS1.size);
  const {
    argsz = bytes.length,
    flags = 0,
    type = HWPT_DATA_VTD_S1,
    length = HwptVtdS1.size,
  } = over;
  bytes.set(writeStruct(Stage1Alloc, { argsz, flags, data_type: type, data_len: length }));
  bytes.set(
    writeStruct(HwptVtdS1, {
      pgtbl_addr: BigInt(TABLE * PAGE_SIZE),
      addr_width: 48,
      ...over.table,
    }),
    Stage1Alloc.size,
  );
  kit.mm.space.copyTo(DATA_AT, bytes);
  return kit.container.ioctl(kit.process, IopfIoctl.VFIO_IOMMU_STAGE1_ALLOC, DATA_AT);
}

const fileOf = (fd: number): VfioFile => kit.process.get(fd).what as VfioFile;

function attach(device: VfioFile, fd: number, flags = 0): number {
  const out = kit.callStruct(device, Stage1DeviceIoctl.VFIO_DEVICE_ATTACH_STAGE1, Stage1Attach, {
    argsz: Stage1Attach.size,
    flags,
    queue_fd: fd,
  });
  return Number(out.out_dev_id);
}

function detach(device: VfioFile): void {
  const argsz = Stage1Detach.size;
  kit.callStruct(device, Stage1DeviceIoctl.VFIO_DEVICE_DETACH_STAGE1, Stage1Detach, {
    argsz,
    flags: 0,
  });
}

function invalidate(queue: VfioFile, range: Record<string, number | bigint>, argsz?: number): void {
  const bytes = new Uint8Array(Stage1Invalidate.size + HwptVtdS1Invalidate.size);
  bytes.set(writeStruct(Stage1Invalidate, { argsz: argsz ?? bytes.length, flags: 0 }));
  bytes.set(writeStruct(HwptVtdS1Invalidate, range), Stage1Invalidate.size);
  kit.call(queue, Stage1Ioctl.VFIO_STAGE1_INVALIDATE, bytes);
}

/** Table entries: input pages of the first 2 MiB lead to page `to` of the container. */
function entry(frame: number, index: number, to: number): void {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(to * PAGE_SIZE + (to === 0 ? 0 : 7)), true);
  kit.mm.space.copyTo(BUFFER + frame * PAGE_SIZE + index * 8, bytes);
}

/** Starts a DMA read of a page, through the registers. */
function dmaRead(device: VfioFile, input: number): void {
  poke(device, 0x80, input * PAGE_SIZE);
  poke(device, 0x88, 0x40000);
  poke(device, 0x90, PAGE_SIZE);
  poke(device, 0x98, 1);
}

function poke(device: VfioFile, register: number, value: number): void {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  kit.mm.space.copyTo(DATA_AT, bytes);
  device.write(kit.process, DATA_AT, 8, register);
}

function busy(device: VfioFile): boolean {
  device.read(kit.process, DATA_AT, 4, 0x98);
  const bytes = new Uint8Array(4);
  kit.mm.space.copyFrom(DATA_AT, bytes);
  return (bytes[0]! & 1) !== 0;
}

function openMaster(group: number): VfioFile {
  const device = kit.openDevice(group);
  kit.mm.space.copyTo(DATA_AT, new Uint8Array([6, 0]));
  device.write(kit.process, DATA_AT, 2, PciRegionIndex.CONFIG * REGION_OFFSET + PciConfig.COMMAND);
  return device;
}

function cookies(queue: VfioFile): number[] {
  const bytes = queue.read(kit.process, DATA_AT, 10 * HwptPgfault.size, 0);
  const records = new Uint8Array(bytes);
  kit.mm.space.copyFrom(DATA_AT, records);
  const view = new DataView(records.buffer);
  return Array.from({ length: bytes / HwptPgfault.size }, (_, i) =>
    view.getUint32(i * HwptPgfault.size + HwptPgfault.at.cookie, true),
  );
}

function answer(queue: VfioFile, cookie: number, code: number): number {
  kit.mm.space.copyTo(DATA_AT, writeStruct(HwptPageResponse, { cookie, code }));
  return queue.write(kit.process, DATA_AT, HwptPageResponse.size, 0);
}

describe('R8.1: VFIO_TYPE1_NESTING_IOMMU', () => {
  it('is opened where IOPF is not off, and only by kernels that know it', () => {
    const off = new Kit({ iopf: 'off' });
    off.addGroup(1);
    expect(off.checkExtension(VFIO_TYPE1_NESTING_IOMMU)).toBe(1);
    expect(errnoOf(() => off.setIommu(VFIO_TYPE1_NESTING_IOMMU))).toBe('EINVAL');
    const later = new Kit({ iopf: 'auto', kernel: '7.2' });
    later.addGroup(1);
    expect(later.checkExtension(VFIO_TYPE1_NESTING_IOMMU)).toBe(0);
    expect(errnoOf(() => later.setIommu(VFIO_TYPE1_NESTING_IOMMU))).toBe('ENODEV');
  });

  it('shows none of its calls with IOPF off, nor on a container of another type', () => {
    const off = new Kit({ iopf: 'off' }).ready();
    const device = off.openDevice(1);
    const { VFIO_DEVICE_ATTACH_STAGE1, VFIO_DEVICE_DETACH_STAGE1 } = Stage1DeviceIoctl;
    expect(
      errnoOf(() => off.container.ioctl(off.process, IopfIoctl.VFIO_IOMMU_STAGE1_ALLOC, 0)),
    ).toBe('ENOTTY');
    expect(errnoOf(() => device.ioctl(off.process, VFIO_DEVICE_ATTACH_STAGE1, 0))).toBe('ENOTTY');
    expect(errnoOf(() => device.ioctl(off.process, VFIO_DEVICE_DETACH_STAGE1, 0))).toBe('ENOTTY');
    kit = new Kit({ iopf: 'auto' });
    kit.addGroup(1);
    kit.setIommu(VFIO_TYPE1v2_IOMMU);
    expect(errnoOf(() => alloc())).toBe('ENOTTY');
    expect(errnoOf(() => attach(kit.openDevice(1), 0))).toBe('ENOTTY');
  });
});

describe('R8.1: making a first stage', () => {
  it('gives out a fault queue that is empty', () => {
    const queue = fileOf(alloc());
    expect(queue.name).toBe('anon_inode:[iommufd-pgfault]');
    expect(cookies(queue)).toEqual([]);
    expect(errnoOf(() => queue.read(kit.process, DATA_AT, 40, 40))).toBe('ESPIPE');
    expect(errnoOf(() => queue.read(kit.process, DATA_AT, 41, 0))).toBe('ESPIPE');
    expect(errnoOf(() => queue.write(kit.process, DATA_AT, 8, 8))).toBe('ESPIPE');
    expect(errnoOf(() => queue.write(kit.process, DATA_AT, 9, 0))).toBe('ESPIPE');
    expect(errnoOf(() => queue.write(kit.process, 8, 8, 0))).toBe('EFAULT');
    expect(errnoOf(() => queue.ioctl(kit.process, IopfIoctl.VFIO_IOMMU_STAGE1_ALLOC, 0))).toBe(
      'ENOTTY',
    );
    expect(
      errnoOf(() => queue.mmap(kit.process, { length: 1, protection: 1, flags: 1, offset: 0 })),
    ).toBe('ENODEV');
  });

  it.each<[string, Alloc, string]>([
    ['a small argsz', { argsz: 39 }, 'EINVAL'],
    ['flags', { flags: 1 }, 'EINVAL'],
    ['a table of an SMMU', { type: 2 }, 'EOPNOTSUPP'],
    ['another length', { length: 16 }, 'EINVAL'],
    ['supervisor requests', { table: { flags: 1 } }, 'EOPNOTSUPP'],
    ['flags beyond 32 bits', { table: { flags: 1n << 40n } }, 'EOPNOTSUPP'],
    ['57 bits', { table: { addr_width: 57 } }, 'EINVAL'],
    ['a reserved field', { table: { reserved: 1 } }, 'EINVAL'],
    ['a root off a page', { table: { pgtbl_addr: 0x100008n } }, 'EINVAL'],
  ])('refuses %s', (_what, over, errno) => {
    expect(errnoOf(() => alloc(over))).toBe(errno);
  });

  it('refuses arguments that cannot be read', () => {
    const at = DATA_AT + 2 * PAGE_SIZE - Stage1Alloc.size;
    const header = { argsz: 40, flags: 0, data_type: 1, data_len: 24 };
    kit.mm.space.copyTo(at, writeStruct(Stage1Alloc, header));
    expect(
      errnoOf(() => kit.container.ioctl(kit.process, IopfIoctl.VFIO_IOMMU_STAGE1_ALLOC, at)),
    ).toBe('EFAULT');
  });
});

describe('R8.1: attaching a device', () => {
  it('is refused where it makes no sense, and changes nothing', () => {
    const device = kit.openDevice(1);
    const queue = alloc();
    expect(errnoOf(() => attach(device, queue, 1))).toBe('EINVAL');
    expect(errnoOf(() => attach(device, 99))).toBe('EBADF');
    expect(errnoOf(() => attach(device, kit.containerFd))).toBe('EINVAL');
    expect(errnoOf(() => detach(device))).toBe('EINVAL');
    expect(attach(device, queue)).toBe(1);
    expect(errnoOf(() => attach(device, queue))).toBe('EBUSY');
    detach(device);
    expect(attach(device, queue)).toBe(2);
  });

  it('is undone where its number cannot be written', () => {
    const device = kit.openDevice(1);
    const argument = { argsz: Stage1Attach.size, flags: 0, queue_fd: alloc() };
    kit.mm.space.copyTo(DATA_AT, writeStruct(Stage1Attach, argument));
    kit.mm.space.mprotect(DATA_AT / PAGE_SIZE, 1, READ);
    const { VFIO_DEVICE_ATTACH_STAGE1 } = Stage1DeviceIoctl;
    expect(errnoOf(() => device.ioctl(kit.process, VFIO_DEVICE_ATTACH_STAGE1, DATA_AT))).toBe(
      'EFAULT',
    );
    expect(kit.functions[0]!.iommu.stage1).toBeNull();
  });

  it('is ENODEV for a device that cannot wait', () => {
    kit = nestedKit([{ canFault: false }]);
    kit.map(TABLE, 8);
    expect(errnoOf(() => attach(kit.openDevice(1), alloc()))).toBe('ENODEV');
  });
});

describe('R8.1: faults of two devices at one first stage', () => {
  let devices: VfioFile[];
  let queue: VfioFile;

  beforeEach(() => {
    kit = nestedKit([{}, {}]);
    kit.map(TABLE, 8);
    for (let level = 0; level < 3; level++) entry(level, 0, TABLE + level + 1);
    devices = [openMaster(1), openMaster(2)];
    const fd = alloc();
    queue = fileOf(fd);
    for (const device of devices) attach(device, fd);
    // The devices' addresses have 28 bits: everything is in the first 2 MiB.
  });

  it('are read and answered each, and no sooner go on', () => {
    dmaRead(devices[0]!, 5);
    dmaRead(devices[1]!, 6);
    expect(devices.map(busy)).toEqual([true, true]);
    const read = cookies(queue);
    expect(read).toEqual([1, 2]);
    entry(3, 5, TABLE + 5);
    entry(3, 6, TABLE + 5);
    expect(devices.map(busy)).toEqual([true, true]);
    answer(queue, 2, 0);
    expect(devices.map(busy)).toEqual([true, false]);
    answer(queue, 1, 1);
    expect(devices.map(busy)).toEqual([false, false]);
    const { counters } = kit;
    expect([counters.dmaBytesRead, counters.responsesInvalid]).toEqual([PAGE_SIZE, 1]);
  });

  it('keep to the registers as they were when the transfer began', () => {
    dmaRead(devices[0]!, 5);
    poke(devices[0]!, 0x80, 6 * PAGE_SIZE);
    entry(3, 5, TABLE + 5);
    answer(queue, cookies(queue)[0]!, 0);
    expect(busy(devices[0]!)).toBe(false);
    expect(cookies(queue)).toEqual([]);
  });

  it('are forgotten by a device whose last file is closed, and answered INVALID', () => {
    dmaRead(devices[0]!, 5);
    devices[0]!.release();
    const { counters, functions } = kit;
    expect([
      counters.responsesInvalid,
      functions[0]!.iommu.busy,
      functions[0]!.iommu.stage1,
    ]).toEqual([1, false, null]);
    expect(cookies(queue)).toEqual([]);
  });

  it('are refused once the queue is closed; it tells nobody any more', () => {
    const told: boolean[] = [];
    queue.watchReadable!((is) => told.push(is));
    dmaRead(devices[0]!, 5);
    expect(told).toEqual([false, true]);
    queue.release();
    expect(devices.map(busy)).toEqual([false, false]);
    dmaRead(devices[1]!, 6);
    expect(busy(devices[1]!)).toBe(false);
    expect(kit.counters.responsesInvalid).toBe(2);
    expect(told).toEqual([false, true]);
  });

  it('are missed again only where an entry was invalidated', () => {
    entry(3, 5, TABLE + 5);
    dmaRead(devices[0]!, 5);
    entry(3, 5, 0);
    dmaRead(devices[0]!, 5);
    expect(cookies(queue)).toEqual([]);
    invalidate(queue, { addr: BigInt(6 * PAGE_SIZE), npages: 1n, flags: 1 });
    dmaRead(devices[0]!, 5);
    expect(cookies(queue)).toEqual([]);
    invalidate(queue, { addr: BigInt(5 * PAGE_SIZE), npages: 1n });
    dmaRead(devices[0]!, 5);
    entry(3, 5, TABLE + 5);
    answer(queue, cookies(queue)[0]!, 0);
    busy(devices[0]!);
    entry(3, 5, 0);
    invalidate(queue, { addr: 0n, npages: 2n ** 64n - 1n });
    dmaRead(devices[0]!, 5);
    expect(cookies(queue)).toEqual([2]);
  });

  it('an invalidation is refused where it makes no sense', () => {
    expect(errnoOf(() => invalidate(queue, { addr: 8n, npages: 1n }))).toBe('EINVAL');
    expect(errnoOf(() => invalidate(queue, { addr: 4096n, npages: 2n ** 64n - 1n }))).toBe(
      'EINVAL',
    );
    expect(errnoOf(() => invalidate(queue, { flags: 2 }))).toBe('EOPNOTSUPP');
    expect(errnoOf(() => invalidate(queue, {}, 8))).toBe('EINVAL');
  });
});
