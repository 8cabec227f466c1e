/** Hardware queues of virtual IOMMUs (kernel: struct iommufd_hw_queue, mock_hw_queue). */
import { fail } from '../../abi/errno.js';
import { HwQueueAlloc } from '../../abi/iommufd-structs.js';
import { MOCK_HW_QUEUES, SelftestType } from '../../abi/iommufd-test.js';
import { type Call, respond } from '../call.js';
import type { IommufdObject } from '../objects.js';
import { ADDRESS_END, PAGE } from '../ranges.js';
import { IoasAccess } from './access.js';
import { MockTable } from './mock-table.js';
import { MockViommu } from './viommu.js';

const DEFAULT_TYPE = 0;

export class HwQueue implements IommufdObject {
  id = 0;
  users = 0;

  constructor(
    private readonly viommu: MockViommu,
    private readonly access: IoasAccess,
    private readonly pinned: { iova: bigint; length: bigint },
    private readonly index: number,
  ) {
    viommu.users++;
    viommu.queues[index] = this;
    this.before = viommu.queues[index - 1] ?? null;
    if (this.before !== null) this.before.users++;
  }

  /** The queue that it needs, the one with the number before its own. */
  private readonly before: HwQueue | null;

  destroy(): void {
    this.viommu.queues[this.index] = null;
    if (this.before !== null) this.before.users--;
    this.access.unpin(this.pinned.iova, this.pinned.length);
    this.access.end();
    this.viommu.users--;
  }
}

/**
 * IOMMU_HW_QUEUE_ALLOC. EOPNOTSUPP: flags, the default type; EINVAL: no length; EOVERFLOW: it
 * wraps; ENOENT; EOPNOTSUPP: another type; see `IoasAccess.pin`; EFAULT: its memory is not in one
 * piece; EINVAL: too many; EEXIST; EIO: the one before it is not there; EFAULT.
 */
export function hwQueueAlloc(call: Call): void {
  const { buffer, context } = call;
  const { objects } = context;
  const { at } = HwQueueAlloc;
  const type = buffer.u32(at.type);
  if (buffer.u32(at.flags) !== 0 || type === DEFAULT_TYPE) fail('EOPNOTSUPP');
  const length = buffer.big(at.length);
  const iova = buffer.big(at.nesting_parent_iova);
  if (length === 0n) fail('EINVAL');
  if (iova + length - 1n >= ADDRESS_END) fail('EOVERFLOW');
  const viommu = objects.get(buffer.u32(at.viommu_id), MockViommu);
  if (type !== SelftestType.HW_QUEUE) fail('EOPNOTSUPP');
  const first = iova & -PAGE;
  const pinned = { iova: first, length: ((iova - first + length + PAGE - 1n) / PAGE) * PAGE };
  const access = new IoasAccess(context, { pins: true, isInternal: true });
  let isPinned = false;
  try {
    access.change(viommu.hwpt.ioas);
    const frames = access.pin(pinned.iova, pinned.length, false);
    isPinned = true;
    if (frames.some((frame, index) => frame !== frames[0]! + index)) fail('EFAULT');
    const index = buffer.u32(at.index);
    checkPlace(viommu, index, iova, frames[0]!);
    const queue = new HwQueue(viommu, access, pinned, index);
    objects.add(queue);
    buffer.setU32(at.out_hw_queue_id, queue.id);
    respondOrRemove(call, queue);
  } catch (error) {
    if (access.ioas !== null) {
      if (isPinned) access.unpin(pinned.iova, pinned.length);
    }
    if (objects.any(access.id) === access) access.end();
    throw error;
  }
}

function respondOrRemove(call: Call, queue: HwQueue): void {
  try {
    respond(call);
  } catch (error) {
    call.context.objects.remove(queue);
    throw error;
  }
}

/** EINVAL: there are not so many; EEXIST; EIO: the one before; EFAULT: no place for it. */
function checkPlace(
  { queues, hwpt }: MockViommu,
  index: number,
  iova: bigint,
  frame: number,
): void {
  if (index >= MOCK_HW_QUEUES) fail('EINVAL');
  if ((queues[index] ?? null) !== null) fail('EEXIST');
  if (index > 0 && (queues[index - 1] ?? null) === null) fail('EIO');
  const { table } = hwpt;
  if (!(table instanceof MockTable) || table.physicalAt(iova)?.frame !== frame) fail('EFAULT');
}
