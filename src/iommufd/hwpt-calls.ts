/**
 * The calls that make page tables, invalidate what is cached of them, and tell what an IOMMU can do
 * (kernel: hw_pagetable.c).
 */
import { fail } from '../abi/errno.js';
import { HWPT_DATA_NONE, HwInfoFlag, HwptAllocFlag } from '../abi/iommufd.js';
import { HwInfo, HwptAlloc, HwptInvalidate } from '../abi/iommufd-structs.js';
import { copyOutCleared } from '../file/argument.js';
import { type Call, respond } from './call.js';
import { BoundDevice } from './device.js';
import { FaultQueueObject } from './fault-queue-file.js';
import { type Hwpt, isNestParent, NestedHwpt, type NestParent, PagingHwpt } from './hwpt.js';
import { type Invalidated, type InvalidationArray, isInvalidated } from './invalidation.js';
import { Ioas } from './ioas.js';
import type { UserData } from './iommu.js';
import type { IommufdObject } from './objects.js';

/** The most entries of one invalidation, and bytes of each. */
const ENTRIES_MAX = 1 << 19;
const ENTRY_BYTES_MAX = 4096;
const {
  IOMMU_HWPT_ALLOC_NEST_PARENT: NEST_PARENT,
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING: DIRTY_TRACKING,
  IOMMU_HWPT_FAULT_ID_VALID: FAULT_ID_VALID,
  IOMMU_HWPT_ALLOC_PASID: PASID,
} = HwptAllocFlag;

/**
 * IOMMU_HWPT_ALLOC: a page table of an IOAS, or a nested one, for the IOMMU of a device.
 * EOPNOTSUPP: reserved; EINVAL: data and its length do not go together; ENOENT: no such device;
 * EINVAL: nothing to make a page table of; see `pagingTable`, `nestedTable`; ENOENT: no such fault
 * queue; EFAULT: then there is none.
 */
export function hwptAlloc(call: Call): void {
  const { buffer, context, caller } = call;
  const { objects } = context;
  const { at } = HwptAlloc;
  if (buffer.u32(at.__reserved) !== 0) fail('EOPNOTSUPP');
  const type = buffer.u32(at.data_type);
  const length = buffer.u32(at.data_len);
  if ((type === HWPT_DATA_NONE) !== (length === 0)) fail('EINVAL');
  const data = length === 0 ? null : { caller, type, length, address: buffer.u64(at.data_uptr) };
  const device = objects.get(buffer.u32(at.dev_id), BoundDevice);
  const parent = objects.any(buffer.u32(at.pt_id));
  const flags = buffer.u32(at.flags);
  let hwpt: Hwpt;
  if (parent instanceof Ioas) hwpt = pagingTable(call, device, parent, flags, data);
  else if (isNestParent(parent)) hwpt = nestedTable(call, device, parent, flags, data);
  else return fail('EINVAL');
  objects.add(hwpt);
  try {
    if ((flags & FAULT_ID_VALID) !== 0)
      hwpt.answerBy(objects.get(buffer.u32(at.fault_id), FaultQueueObject));
    buffer.setU32(at.out_hwpt_id, hwpt.id);
    respond(call);
  } catch (error) {
    objects.remove(hwpt);
    throw error;
  }
}

/** EOPNOTSUPP: flags that this kernel or IOMMU lacks; and what `Iommu`, `PagingHwpt` answer. */
function pagingTable(
  { context }: Call,
  device: BoundDevice,
  ioas: Ioas,
  flags: number,
  data: UserData | null,
): PagingHwpt {
  const { iommu } = device;
  const newer = context.machine.kernel.faultQueueOfPaging ? FAULT_ID_VALID | PASID : 0;
  if ((flags & ~(NEST_PARENT | DIRTY_TRACKING | newer)) !== 0) fail('EOPNOTSUPP');
  if ((flags & DIRTY_TRACKING) !== 0 && !iommu.tracksDirty) fail('EOPNOTSUPP');
  if ((flags & FAULT_ID_VALID) !== 0 && (flags & NEST_PARENT) !== 0) fail('EOPNOTSUPP');
  const table = iommu.newTable(flags & ~FAULT_ID_VALID, data);
  const nests = (flags & NEST_PARENT) !== 0;
  return new PagingHwpt(context.objects, ioas, table, false, nests, (flags & PASID) !== 0);
}

/** EOPNOTSUPP: flags; see `NestParent`. */
function nestedTable(
  { context }: Call,
  device: BoundDevice,
  parent: NestParent,
  flags: number,
  data: UserData | null,
): Hwpt {
  const pasid = context.machine.kernel.faultQueueOfPaging ? PASID : 0;
  if ((flags & ~(FAULT_ID_VALID | pasid)) !== 0) fail('EOPNOTSUPP');
  return parent.newNested(device.iommu, flags, data);
}

/**
 * IOMMU_GET_HW_INFO: what the IOMMU of a device can do, as much as there is room for. EOPNOTSUPP:
 * flags, reserved, or another type of IOMMU is asked for; ENOENT; EFAULT.
 */
export function getHwInfo(call: Call): void {
  const { buffer, context, caller } = call;
  const { at } = HwInfo;
  const flags = buffer.u32(at.flags);
  const known = context.machine.kernel.hwInfoInput ? HwInfoFlag.IOMMU_HW_INFO_FLAG_INPUT_TYPE : 0;
  const reserved = buffer.u32(at.out_max_pasid_log2) >>> 8;
  if ((flags & ~known) !== 0 || reserved !== 0) fail('EOPNOTSUPP');
  const { iommu } = context.objects.get(buffer.u32(at.dev_id), BoundDevice);
  const { type, data, capabilities } = iommu.info(flags === 0 ? 0 : buffer.u32(at.out_data_type));
  copyOutCleared(caller, buffer.u64(at.data_uptr), data, buffer.u32(at.data_len));
  buffer.setU32(at.data_len, data.length);
  buffer.setU32(at.out_data_type, type);
  buffer.setU32(at.out_max_pasid_log2, iommu.pasidBits);
  buffer.setBig(at.out_capabilities, BigInt(capabilities));
  respond(call);
}

/**
 * IOMMU_HWPT_INVALIDATE. EOPNOTSUPP, EINVAL, ENOENT: no such object, on 6.12 before the others;
 * EINVAL: it caches nothing; and what its entries answer. The count of entries that were carried
 * out goes back.
 */
export function hwptInvalidate(call: Call): void {
  const { buffer, context, caller } = call;
  const { at } = HwptInvalidate;
  const object = context.objects.any(buffer.u32(at.hwpt_id));
  const array: InvalidationArray = {
    caller,
    type: buffer.u32(at.data_type),
    address: buffer.u64(at.data_uptr),
    entryBytes: buffer.u32(at.entry_len),
    count: buffer.u32(at.entry_num),
    done: 0,
  };
  try {
    const { invalidateChecksFirst } = context.machine.kernel;
    if (buffer.u32(at.__reserved) !== 0) fail('EOPNOTSUPP');
    const isMalformed =
      array.address === 0 ||
      array.entryBytes === 0 ||
      (invalidateChecksFirst && (array.entryBytes > ENTRY_BYTES_MAX || array.count > ENTRIES_MAX));
    if (array.count !== 0 && isMalformed) fail('EINVAL');
    invalidated(object, invalidateChecksFirst).invalidate(array);
  } finally {
    buffer.setU32(at.entry_num, array.done);
    respond(call);
  }
}

/** On 6.12 there are nested page tables only, and all else is not found. */
function invalidated(object: IommufdObject | null, knowsOthers: boolean): Invalidated {
  if (object === null) return fail('ENOENT');
  if (object instanceof NestedHwpt && isInvalidated(object.table)) return object.table;
  if (knowsOthers && isInvalidated(object)) return object;
  return fail(knowsOthers ? 'EINVAL' : 'ENOENT');
}
