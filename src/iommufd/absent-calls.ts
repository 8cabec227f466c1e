/**
 * Calls for what no machine here has (virtual IOMMUs, their devices, event queues and hardware
 * queues), with the kernel's errors in its order of checks.
 */
import { fail } from '../abi/errno.js';
import { HwQueueAlloc, VeventqAlloc, ViommuAlloc } from '../abi/iommufd-structs.js';
import type { Call } from './call.js';
import { BoundDevice } from './device.js';

/** The type 0 of a virtual IOMMU and of what it has: none. */
const DEFAULT_TYPE = 0;

/** IOMMU_VIOMMU_ALLOC. EOPNOTSUPP: flags, the default type; ENOENT: no such device; EOPNOTSUPP. */
export function viommuAlloc({ buffer, context }: Call): void {
  const { at } = ViommuAlloc;
  if (buffer.u32(at.flags) !== 0 || buffer.u32(at.type) === DEFAULT_TYPE) fail('EOPNOTSUPP');
  context.objects.get(buffer.u32(at.dev_id), BoundDevice);
  fail('EOPNOTSUPP');
}

/** IOMMU_VDEVICE_ALLOC. ENOENT: there is no virtual IOMMU. */
export function vdeviceAlloc(): void {
  fail('ENOENT');
}

/** IOMMU_VEVENTQ_ALLOC. EOPNOTSUPP; EINVAL: no depth; ENOENT. */
export function veventqAlloc({ buffer }: Call): void {
  const { at } = VeventqAlloc;
  const isReserved = buffer.u32(at.flags) !== 0 || buffer.u32(at.__reserved) !== 0;
  if (isReserved || buffer.u32(at.type) === DEFAULT_TYPE) fail('EOPNOTSUPP');
  fail(buffer.u32(at.veventq_depth) === 0 ? 'EINVAL' : 'ENOENT');
}

/** IOMMU_HW_QUEUE_ALLOC. EOPNOTSUPP; EINVAL: no length; EOVERFLOW: it wraps; ENOENT. */
export function hwQueueAlloc({ buffer }: Call): void {
  const { at } = HwQueueAlloc;
  if (buffer.u32(at.flags) !== 0 || buffer.u32(at.type) === DEFAULT_TYPE) fail('EOPNOTSUPP');
  const length = buffer.big(at.length);
  if (length === 0n) fail('EINVAL');
  fail(buffer.big(at.nesting_parent_iova) + length - 1n >= 1n << 64n ? 'EOVERFLOW' : 'ENOENT');
}
