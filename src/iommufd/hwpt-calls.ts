/** The calls that make page tables and tell what an IOMMU can (kernel: hw_pagetable.c). */
import { fail } from '../abi/errno.js';
import {
  HW_INFO_TYPE_INTEL_VTD,
  HWPT_DATA_NONE,
  HwInfoFlag,
  HwptAllocFlag,
  IommuHwCapability,
} from '../abi/iommufd.js';
import { HwInfo, HwInfoVtd, HwptAlloc } from '../abi/iommufd-structs.js';
import { writeStruct } from '../abi/layout.js';
import { capabilityRegister, extendedCapabilityRegister } from '../iommu/vtd.js';
import { type Call, respond } from './call.js';
import { BoundDevice } from './device.js';
import { FaultQueueObject } from './fault-queue-file.js';
import { PagingHwpt } from './hwpt.js';
import { Ioas } from './ioas.js';

/** IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17, which the recorded IOMMU has. */
const VTD_ERRATA = 1;

/**
 * IOMMU_HWPT_ALLOC: a page table of an IOAS, for the IOMMU of a device. EOPNOTSUPP: reserved;
 * EINVAL: data and its length do not go together; ENOENT: no such device; EINVAL: nothing to make a
 * page table of; EOPNOTSUPP: flags or data that this IOMMU has not; ENOENT: no such fault queue;
 * and what `PagingHwpt` answers.
 */
export function hwptAlloc(call: Call): void {
  const { buffer, context } = call;
  const { at } = HwptAlloc;
  if (buffer.u32(at.__reserved) !== 0) fail('EOPNOTSUPP');
  if ((buffer.u32(at.data_type) === HWPT_DATA_NONE) !== (buffer.u32(at.data_len) === 0))
    fail('EINVAL');
  const { device } = context.objects.get(buffer.u32(at.dev_id), BoundDevice);
  const parent = context.objects.any(buffer.u32(at.pt_id));
  if (!(parent instanceof Ioas)) return noNesting(call, parent);
  const flags = buffer.u32(at.flags);
  const { IOMMU_HWPT_FAULT_ID_VALID: faultIdValid, IOMMU_HWPT_ALLOC_DIRTY_TRACKING: dirty } =
    HwptAllocFlag;
  const { kernel, iopf } = context.machine;
  // Writes are seen as page faults: the recorded IOMMU has no other way.
  const known = (kernel.faultQueueOfPaging ? faultIdValid : 0) | (iopf === 'off' ? 0 : dirty);
  if ((flags & ~known) !== 0 || buffer.u32(at.data_len) !== 0) fail('EOPNOTSUPP');
  const fault =
    (flags & faultIdValid) === 0
      ? null
      : context.objects.get(buffer.u32(at.fault_id), FaultQueueObject);
  const hwpt = new PagingHwpt(
    context,
    parent,
    device.group!.geometry,
    false,
    fault,
    (flags & dirty) !== 0,
  );
  context.objects.add(hwpt);
  buffer.setU32(at.out_hwpt_id, hwpt.id);
  try {
    respond(call);
  } catch (error) {
    context.objects.remove(hwpt);
    throw error;
  }
}

/** A page table above another one, which no IOMMU here has. */
function noNesting({ buffer }: Call, parent: unknown): never {
  if (!(parent instanceof PagingHwpt)) fail('EINVAL');
  if ((buffer.u32(HwptAlloc.at.flags) & ~HwptAllocFlag.IOMMU_HWPT_FAULT_ID_VALID) !== 0)
    fail('EOPNOTSUPP');
  fail(buffer.u32(HwptAlloc.at.data_len) === 0 ? 'EOPNOTSUPP' : 'EINVAL');
}

/**
 * IOMMU_GET_HW_INFO: what the IOMMU of a device can, as much as there is room for. EOPNOTSUPP:
 * flags, reserved, or another type of IOMMU is asked for; ENOENT; EFAULT.
 */
export function getHwInfo(call: Call): void {
  const { buffer, context, caller } = call;
  const { kernel } = context.machine;
  const { at } = HwInfo;
  const flags = buffer.u32(at.flags);
  const known = kernel.hwInfoInput ? HwInfoFlag.IOMMU_HW_INFO_FLAG_INPUT_TYPE : 0;
  const reserved = buffer.u32(at.out_max_pasid_log2) >>> 8;
  if ((flags & ~known) !== 0 || reserved !== 0) fail('EOPNOTSUPP');
  const { device } = context.objects.get(buffer.u32(at.dev_id), BoundDevice);
  const type = buffer.u32(at.out_data_type);
  if (flags !== 0 && type !== 0 && type !== HW_INFO_TYPE_INTEL_VTD) fail('EOPNOTSUPP');
  const { geometry } = device.group!;
  const data = writeStruct(HwInfoVtd, {
    flags: VTD_ERRATA,
    cap_reg: capabilityRegister(geometry),
    ecap_reg: extendedCapabilityRegister(geometry),
  });
  const room = buffer.u32(at.data_len);
  const bytes = new Uint8Array(room);
  bytes.set(data.subarray(0, room));
  if (!caller.mm.copyTo(buffer.u64(at.data_uptr), bytes)) fail('EFAULT');
  buffer.setU32(at.data_len, data.length);
  buffer.setU32(at.out_data_type, HW_INFO_TYPE_INTEL_VTD);
  buffer.setU32(at.out_max_pasid_log2, 0);
  const { IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED: noAts, IOMMU_HW_CAP_DIRTY_TRACKING: dirty } =
    IommuHwCapability;
  const can = context.machine.iopf === 'off' ? 0 : dirty;
  const cannot = kernel.hwInfoInput && !device.hasPri ? noAts : 0;
  buffer.setBig(at.out_capabilities, BigInt(can | cannot));
  respond(call);
}
