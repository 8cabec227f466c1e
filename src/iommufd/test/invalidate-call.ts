/** IOMMU_HWPT_INVALIDATE where something can be invalidated (kernel: iommufd_hwpt_invalidate). */
import { fail } from '../../abi/errno.js';
import { HwptInvalidate } from '../../abi/iommufd-structs.js';
import { type Call, respond } from '../call.js';
import { NestedHwpt } from '../hwpt.js';
import type { IommufdObject } from '../objects.js';
import { type Invalidated, type InvalidationArray, isInvalidated } from './invalidation.js';

const ENTRIES_MAX = 1 << 19;
const ENTRY_BYTES_MAX = 4096;

/**
 * EOPNOTSUPP, EINVAL, ENOENT: no such object, on 6.12 before the others; EINVAL: it caches nothing;
 * and what its entries answer. The count of entries that were carried out goes back.
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
  if (object === null) fail('ENOENT');
  if (object instanceof NestedHwpt && isInvalidated(object.table)) return object.table;
  if (knowsOthers && isInvalidated(object)) return object;
  return fail(knowsOthers ? 'EINVAL' : 'ENOENT');
}
