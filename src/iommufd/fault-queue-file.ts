/**
 * Fault queues that programs read and answer (kernel: struct iommufd_fault, eventq.c).
 *
 * Terms: a page table with a queue sends its devices' page requests there, and nobody else answers
 * them.
 */
import { fail } from '../abi/errno.js';
import { FaultAlloc, HwptPgfault } from '../abi/iommufd-structs.js';
import type { Caller } from '../file/caller.js';
import { noIoctl, noMapping, type VfioFile } from '../file/file.js';
import { FaultQueue } from '../iommu/fault-queue.js';
import type { FaultingDevice } from '../iommu/page-request.js';
import { type Call, respondWithFile } from './call.js';
import type { IommufdContext } from './context.js';
import { BoundDevice } from './device.js';
import type { IommufdObject } from './objects.js';

export class FaultQueueObject implements IommufdObject {
  id = 0;
  users = 0;
  readonly queue: FaultQueue;

  constructor(context: IommufdContext) {
    const idOf = (device: FaultingDevice): number => {
      for (const object of context.objects)
        if (object instanceof BoundDevice && object.asksAs(device)) return object.id;
      return 0;
    };
    this.queue = new FaultQueue(idOf, true);
  }

  destroy(): void {
    this.queue.close();
  }
}

/** An open fault queue. It keeps its context. */
class FaultQueueFile implements VfioFile {
  readonly kind = 'fault-queue';
  readonly name = 'anon_inode:[iommufd-pgfault]';
  readonly ioctl = noIoctl;
  readonly mmap = noMapping;

  constructor(
    private readonly context: IommufdContext,
    private readonly fault: FaultQueueObject,
  ) {
    context.hold();
    fault.users++;
  }

  /**
   * Records of groups that nobody has read, whole groups only; 0: there are none. ESPIPE: not at 0,
   * or not whole records; EINVAL: the first group does not fit; EFAULT.
   */
  read(caller: Caller, address: number, count: number, offset: number): number {
    if (offset !== 0 || count % HwptPgfault.size !== 0) fail('ESPIPE');
    return this.fault.queue.readGroups(count, (record, at) =>
      caller.mm.copyTo(address + at, record),
    );
  }

  write(caller: Caller, address: number, count: number, offset: number): number {
    return this.fault.queue.writeFrom(count, offset, (into) => caller.mm.copyFrom(address, into));
  }

  watchReadable(tell: (readable: boolean) => void): void {
    this.fault.queue.watch(tell);
  }

  /** Nobody reads or answers any more: what waits does so until its device is detached. */
  release(): void {
    this.fault.queue.watch(null);
    this.fault.users--;
    this.context.drop();
  }
}

/**
 * IOMMU_FAULT_QUEUE_ALLOC: a queue, and a descriptor of it in the struct. EOPNOTSUPP: flags;
 * EMFILE; EFAULT: then there is none.
 */
export function faultQueueAlloc(call: Call): void {
  const { buffer, context } = call;
  const { at } = FaultAlloc;
  if (buffer.u32(at.flags) !== 0) fail('EOPNOTSUPP');
  const fault = new FaultQueueObject(context);
  context.objects.add(fault);
  try {
    respondWithFile(call, new FaultQueueFile(context, fault), (fd) => {
      buffer.setU32(at.out_fault_id, fault.id);
      buffer.setU32(at.out_fault_fd, fd);
    });
  } catch (error) {
    context.objects.remove(fault);
    throw error;
  }
}
