/**
 * First stages as programs see them (R8.1; design in docs/iopf-abi.md): a container with stages
 * makes a table, whose descriptor is the fault queue.
 */
import { ArgumentBuffer } from '../abi/argument-buffer.js';
import { fail } from '../abi/errno.js';
import { HWPT_DATA_VTD_S1, IOMMU_VTD_INV_FLAGS_LEAF } from '../abi/iommufd.js';
import { HwptPgfault, HwptVtdS1, HwptVtdS1Invalidate } from '../abi/iommufd-structs.js';
import { Stage1Ioctl } from '../abi/vfio.js';
import { Stage1Alloc, Stage1Invalidate } from '../abi/vfio-structs.js';
import { copyIn } from '../file/argument.js';
import type { Caller } from '../file/caller.js';
import { noMapping, type VfioFile } from '../file/file.js';
import { runDirect } from '../flow/direct.js';
import type { IoSpace } from '../ioas/io-space.js';
import type { IommuDevice } from '../iommu/device.js';
import { FaultQueue } from '../iommu/fault-queue.js';
import type { FaultingDevice } from '../iommu/page-request.js';
import { Stage1, type TableMemory } from '../iommu/stage1.js';

/** The only width: four levels. */
const ADDRESS_WIDTH = 48;
const ALL_PAGES_HALF = 0xffffffff;
/** The most bytes of records that one call moves. */
const RECORDS_MAX = 1024 * HwptPgfault.size;

const alloc = new ArgumentBuffer(Stage1Alloc.size);
const table = new ArgumentBuffer(HwptVtdS1.size);
const header = new ArgumentBuffer(Stage1Invalidate.size);
const invalidation = new ArgumentBuffer(HwptVtdS1Invalidate.size);

/** An open fault queue, which stands for its first stage. */
export class Stage1File implements VfioFile {
  readonly kind = 'fault-queue';
  readonly name = 'anon_inode:[iommufd-pgfault]';
  readonly mmap = noMapping;
  readonly stage1: Stage1;
  private readonly queue: FaultQueue;
  private readonly devices = new Map<FaultingDevice, number>();
  private nextId = 1;

  constructor(
    readonly space: IoSpace,
    root: number,
    memory: TableMemory,
  ) {
    this.queue = new FaultQueue((device) => this.devices.get(device)!);
    this.stage1 = new Stage1(root, this.queue, memory);
  }

  /** VFIO_STAGE1_INVALIDATE. ENOTTY for all else. */
  ioctl(caller: Caller, request: number, argument: number): number {
    if (request !== Stage1Ioctl.VFIO_STAGE1_INVALIDATE) fail('ENOTTY');
    this.invalidate(caller, argument);
    return 0;
  }

  /**
   * Records of requests that nobody has read; 0: there are none. ESPIPE: not at 0, or not whole
   * records; EFAULT.
   */
  read(caller: Caller, address: number, count: number, offset: number): number {
    if (offset !== 0 || count % HwptPgfault.size !== 0) fail('ESPIPE');
    const bytes = new Uint8Array(Math.min(count, RECORDS_MAX));
    const done = this.queue.read(bytes, (records) => caller.mm.copyTo(address, records));
    return done < 0 ? fail('EFAULT') : done;
  }

  write(caller: Caller, address: number, count: number, offset: number): number {
    return this.queue.writeFrom(count, offset, (into) => caller.mm.copyFrom(address, into));
  }

  /** poll(2): `tell` is told whether a read would find something, now and whenever that changes. */
  watchReadable(tell: (readable: boolean) => void): void {
    this.queue.watch(tell);
  }

  /**
   * Nobody answers any more. Devices stay attached: what the table lacks is refused from now on,
   * and never goes past it.
   */
  release(): void {
    this.queue.watch(null);
    this.queue.close();
  }

  /**
   * EINVAL, ENODEV, EBUSY: see `IommuDevice.attachStage1`. Returns the device's number in records.
   */
  attach(device: IommuDevice): number {
    device.attachStage1(this.stage1);
    const id = this.nextId++;
    this.devices.set(device, id);
    return id;
  }

  detach(device: IommuDevice): void {
    runDirect(device.detachStage1());
    this.devices.delete(device);
  }

  /** EFAULT; EINVAL: argsz, flags, a range that is none; EOPNOTSUPP: flags of the range. */
  private invalidate(caller: Caller, argument: number): void {
    copyIn(caller, argument, header, Stage1Invalidate.size);
    if (header.u32(0) < Stage1Invalidate.size + HwptVtdS1Invalidate.size) fail('EINVAL');
    if (header.u32(Stage1Invalidate.at.flags) !== 0) fail('EINVAL');
    if (!caller.mm.copyFrom(argument + Stage1Invalidate.size, invalidation.bytes)) fail('EFAULT');
    const { at } = HwptVtdS1Invalidate;
    if ((invalidation.u32(at.flags) & ~IOMMU_VTD_INV_FLAGS_LEAF) !== 0) fail('EOPNOTSUPP');
    const first = invalidation.pages(at.addr);
    const whole =
      invalidation.u32(at.npages) === ALL_PAGES_HALF &&
      invalidation.u32(at.npages + 4) === ALL_PAGES_HALF;
    if (invalidation.inPage(at.addr) !== 0 || (whole && first !== 0)) fail('EINVAL');
    const pages = invalidation.u64(at.npages);
    for (const device of this.devices.keys()) {
      if (whole) device.iotlb.flushAll();
      else device.iotlb.flush(first, pages);
    }
  }
}

/**
 * VFIO_IOMMU_STAGE1_ALLOC: a first stage over a table of the program's. EFAULT; EINVAL: argsz,
 * flags, data_len, width, alignment; EOPNOTSUPP: another kind of table, or flags of it. Returns its
 * file, which is not open yet.
 */
export function allocateStage1(
  caller: Caller,
  argument: number,
  space: IoSpace,
  tables: TableMemory,
): Stage1File {
  copyIn(caller, argument, alloc, Stage1Alloc.size);
  if (alloc.u32(Stage1Alloc.at.flags) !== 0) fail('EINVAL');
  if (alloc.u32(Stage1Alloc.at.data_type) !== HWPT_DATA_VTD_S1) fail('EOPNOTSUPP');
  const bytes = alloc.u32(Stage1Alloc.at.data_len);
  if (bytes !== HwptVtdS1.size || alloc.u32(0) < Stage1Alloc.size + bytes) fail('EINVAL');
  if (!caller.mm.copyFrom(argument + Stage1Alloc.size, table.bytes)) fail('EFAULT');
  const { at } = HwptVtdS1;
  if (table.u32(at.flags) !== 0 || table.u32(at.flags + 4) !== 0) fail('EOPNOTSUPP');
  if (table.u32(at.addr_width) !== ADDRESS_WIDTH || table.u32(at.reserved) !== 0) fail('EINVAL');
  if (table.inPage(at.pgtbl_addr) !== 0) fail('EINVAL');
  return new Stage1File(space, table.pages(at.pgtbl_addr), tables);
}
