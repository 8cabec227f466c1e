/** Virtual IOMMUs of the mock IOMMU, and their devices (kernel: viommu.c, struct mock_viommu). */
import { ArgumentBuffer } from '../../abi/argument-buffer.js';
import { fail } from '../../abi/errno.js';
import { HwptAllocFlag } from '../../abi/iommufd.js';
import { VdeviceAlloc, ViommuAlloc } from '../../abi/iommufd-structs.js';
import {
  MOCK_CACHE_ENTRIES,
  MOCK_INVALIDATE_ALL,
  SelftestType,
  SelftestViommu,
  SelftestViommuInvalidate,
} from '../../abi/iommufd-test.js';
import type { KernelProfile } from '../../abi/kernel.js';
import { copySized } from '../../file/argument.js';
import { PAGE_SIZE } from '../../mm/address-space.js';
import { type Call, respond } from '../call.js';
import { BoundDevice } from '../device.js';
import { NestedHwpt, type NestParent, PagingHwpt } from '../hwpt.js';
import type { InvalidationArray } from '../invalidation.js';
import { copyUserData, type Iommu, type UserData } from '../iommu.js';
import type { IommufdObject, ObjectTable } from '../objects.js';
import type { HwQueue } from './hw-queue.js';
import { MockIommu } from './mock-iommu.js';
import { MockNested } from './mock-nested.js';
import type { VeventQueue } from './vevent-queue.js';

const DEFAULT_TYPE = 0;
const MMAP_BYTES = 2 * PAGE_SIZE;
const PASID = HwptAllocFlag.IOMMU_HWPT_ALLOC_PASID;

export class MockViommu implements IommufdObject, NestParent {
  id = 0;
  users = 0;
  /** By the number that the guest knows a device by. */
  readonly devices = new Map<bigint, Vdevice>();
  readonly queues: (HwQueue | null)[] = [];
  readonly events: VeventQueue[] = [];
  /** Where in its iommufd a kernel has two pages of it; 0: nowhere. */
  mappedAt = 0;

  constructor(
    readonly hwpt: PagingHwpt,
    private readonly kernel: KernelProfile,
  ) {
    hwpt.users++;
  }

  /** The number of a device. ENOENT: it has none. */
  idOf(iommu: MockIommu): bigint {
    for (const [id, device] of this.devices) if (device.iommu === iommu) return id;
    return fail('ENOENT');
  }

  newNested(iommu: Iommu, flags: number, data: UserData | null): NestedHwpt {
    if (!(iommu instanceof MockIommu)) fail('EINVAL');
    if (data === null) return fail('EOPNOTSUPP');
    const table = MockNested.create(data, this, this.kernel);
    return new NestedHwpt(this.hwpt, this, table, (flags & PASID) !== 0);
  }

  /** Caches of its devices: all entries are carried out, or it stops at the first that is wrong. */
  invalidate(array: InvalidationArray): void {
    const { caller, type, address, entryBytes, count } = array;
    if (count === 0 && type === SelftestType.VIOMMU_INVALIDATE) return;
    const { at, size } = SelftestViommuInvalidate;
    if (type !== SelftestType.VIOMMU_INVALIDATE || count === 0) fail('EINVAL');
    const entries = Array.from({ length: count }, (_, index) => {
      const entry = new ArgumentBuffer(size);
      copySized(caller, address + index * entryBytes, entry, entryBytes);
      return entry;
    });
    for (const entry of entries) {
      const flags = entry.u32(at.flags);
      const index = entry.u32(at.cache_id);
      if ((flags & ~MOCK_INVALIDATE_ALL) !== 0) fail('EOPNOTSUPP');
      if (index >= MOCK_CACHE_ENTRIES) fail('EINVAL');
      const device = this.devices.get(BigInt(entry.u32(at.vdev_id))) ?? fail('EINVAL');
      if (flags !== 0) device.iommu.cache.fill(0);
      else device.iommu.cache[index] = 0;
      array.done++;
    }
  }

  /** What a program gives comes back, and where it could be mapped as well. EINVAL, EFAULT. */
  takeData(data: UserData, objects: ObjectTable): void {
    const { at, end, size } = SelftestViommu;
    const buffer = copyUserData(data, SelftestType.VIOMMU, SelftestViommu, end.out_data);
    this.mappedAt = freeOffset(objects);
    buffer.setU32(at.out_data, buffer.u32(at.in_data));
    buffer.setU64(at.out_mmap_offset, this.mappedAt);
    buffer.setU64(at.out_mmap_length, MMAP_BYTES);
    const { caller, address, length } = data;
    if (!caller.mm.copyTo(address, buffer.prefix(Math.min(size, length)))) fail('EFAULT');
  }

  destroy(): void {
    this.hwpt.users--;
  }
}

/** The lowest offset, from a page on, that no virtual IOMMU has. */
function freeOffset(objects: ObjectTable): number {
  const taken = new Set<number>();
  for (const object of objects) if (object instanceof MockViommu) taken.add(object.mappedAt);
  let offset = PAGE_SIZE;
  while (taken.has(offset)) offset += MMAP_BYTES;
  return offset;
}

/** A device behind a virtual IOMMU (kernel: struct iommufd_vdevice). */
export class Vdevice implements IommufdObject {
  id = 0;
  users = 0;

  constructor(
    private readonly viommu: MockViommu,
    private readonly bound: BoundDevice,
    readonly iommu: MockIommu,
    private readonly virtualId: bigint,
  ) {
    viommu.users++;
    viommu.devices.set(virtualId, this);
    iommu.vdevice = this;
  }

  destroy(): void {
    this.viommu.users--;
    this.viommu.devices.delete(this.virtualId);
    this.iommu.vdevice = null;
  }

  /** The device itself goes: nobody gets this id again before the context is gone. */
  bury(): void {
    this.bound.context.objects.bury(this);
  }
}

/**
 * IOMMU_VIOMMU_ALLOC. EOPNOTSUPP: flags, the default type; ENOENT: no such device; EOPNOTSUPP;
 * ENOENT: no page table; EINVAL: none that nests; and of the data EINVAL, EFAULT, E2BIG.
 */
export function viommuAlloc(call: Call): void {
  const { buffer, context, caller } = call;
  const { at } = ViommuAlloc;
  const type = buffer.u32(at.type);
  if (buffer.u32(at.flags) !== 0 || type === DEFAULT_TYPE) fail('EOPNOTSUPP');
  const { iommu } = context.objects.get(buffer.u32(at.dev_id), BoundDevice);
  if (!(iommu instanceof MockIommu) || type !== SelftestType.VIOMMU) fail('EOPNOTSUPP');
  const hwpt = context.objects.get(buffer.u32(at.hwpt_id), PagingHwpt);
  if (!hwpt.nests) fail('EINVAL');
  const length = buffer.u32(at.data_len);
  const viommu = new MockViommu(hwpt, context.machine.kernel);
  context.objects.add(viommu);
  try {
    if (length !== 0)
      viommu.takeData({ caller, type, length, address: buffer.u64(at.data_uptr) }, context.objects);
    buffer.setU32(at.out_viommu_id, viommu.id);
    respond(call);
  } catch (error) {
    context.objects.remove(viommu);
    throw error;
  }
}

/** IOMMU_VDEVICE_ALLOC. ENOENT: no such viommu, no such device; EINVAL; EEXIST; EFAULT. */
export function vdeviceAlloc(call: Call): void {
  const { buffer, context } = call;
  const { objects } = context;
  const { at } = VdeviceAlloc;
  const viommu = objects.get(buffer.u32(at.viommu_id), MockViommu);
  const bound = objects.get(buffer.u32(at.dev_id), BoundDevice);
  const { iommu } = bound;
  if (!(iommu instanceof MockIommu)) return fail('EINVAL');
  const virtualId = buffer.big(at.virt_id);
  if (iommu.vdevice !== null || viommu.devices.has(virtualId)) fail('EEXIST');
  const device = new Vdevice(viommu, bound, iommu, virtualId);
  objects.add(device);
  buffer.setU32(at.out_vdevice_id, device.id);
  try {
    respond(call);
  } catch (error) {
    objects.remove(device);
    throw error;
  }
}
