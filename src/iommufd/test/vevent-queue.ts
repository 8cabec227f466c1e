/** Queues of a virtual IOMMU's events (kernel: struct iommufd_veventq, eventq.c). */
import { ArgumentBuffer } from '../../abi/argument-buffer.js';
import { fail } from '../../abi/errno.js';
import { VeventHeader, VeventqAlloc, VeventqFlag } from '../../abi/iommufd-structs.js';
import { SelftestType } from '../../abi/iommufd-test.js';
import type { Caller } from '../../file/caller.js';
import { noIoctl, noMapping, noTransfer, type VfioFile } from '../../file/file.js';
import { type Call, respondWithFile } from '../call.js';
import type { IommufdContext } from '../context.js';
import type { IommufdObject } from '../objects.js';
import { MockViommu } from './viommu.js';

const DEFAULT_TYPE = 0;
const DEPTH_MAX = 1 << 19;
const EVENT_BYTES = 4;

interface Vevent {
  readonly flags: number;
  readonly sequence: number;
  /** The guest's number of the device; null: events were lost. */
  readonly virtualId: number | null;
}

export class VeventQueue implements IommufdObject {
  id = 0;
  users = 0;
  /** Mock devices report there. */
  readonly isOfTests: boolean;
  private readonly events: Vevent[] = [];
  private sequence = 0;
  private tell: ((readable: boolean) => void) | null = null;

  constructor(
    private readonly viommu: MockViommu,
    readonly type: number,
    private readonly depth: number,
  ) {
    viommu.users++;
    viommu.events.push(this);
    this.isOfTests = type === SelftestType.VEVENTQ;
  }

  watch(tell: ((readable: boolean) => void) | null): void {
    this.tell = tell;
    tell?.(this.events.length > 0);
  }

  /** An event of a device; beyond the depth it is only told that some were lost. */
  report(virtualId: bigint): void {
    const isFull = this.events.filter((each) => each.virtualId !== null).length === this.depth;
    const sequence = this.sequence;
    this.sequence = (this.sequence + 1) % 2 ** 31;
    const last = this.events.findIndex((each) => each.virtualId === null);
    if (last >= 0) this.events.splice(last, 1);
    const flags = isFull ? VeventqFlag.IOMMU_VEVENTQ_FLAG_LOST_EVENTS : 0;
    this.events.push({ flags, sequence, virtualId: isFull ? null : Number(virtualId) });
    this.tell?.(true);
  }

  /** read(2): whole events. EINVAL: not even the first fits; EFAULT. */
  read({ mm }: Caller, address: number, count: number): number {
    let done = 0;
    for (let event = this.events[0]; event !== undefined; event = this.events[0]) {
      const data = event.virtualId === null ? 0 : EVENT_BYTES;
      const bytes = VeventHeader.size + data;
      if (VeventHeader.size > count - done) break;
      if (bytes > count - done) return done === 0 ? fail('EINVAL') : done;
      const record = new ArgumentBuffer(VeventHeader.size + EVENT_BYTES);
      record.setU32(VeventHeader.at.flags, event.flags);
      record.setU32(VeventHeader.at.sequence, event.sequence);
      record.setU32(VeventHeader.size, event.virtualId ?? 0);
      if (!mm.copyTo(address + done, record.prefix(bytes)))
        return done === 0 ? fail('EFAULT') : done;
      this.events.shift();
      done += bytes;
    }
    if (this.events.length === 0) this.tell?.(false);
    return done;
  }

  destroy(): void {
    const { events } = this.viommu;
    events.splice(events.indexOf(this), 1);
    this.viommu.users--;
  }
}

/** An open event queue. It keeps its context. */
class VeventFile implements VfioFile {
  readonly kind = 'iommufd-test';
  readonly name = 'anon_inode:[iommufd-viommu-event]';
  readonly isReadOnly = true;
  readonly ioctl = noIoctl;
  readonly write = noTransfer;
  readonly mmap = noMapping;

  constructor(
    private readonly context: IommufdContext,
    private readonly queue: VeventQueue,
  ) {
    context.hold();
    queue.users++;
  }

  /** ESPIPE: not at 0; EINVAL: no room for a header; see `VeventQueue.read`. */
  read(caller: Caller, address: number, count: number, offset: number): number {
    if (offset !== 0) fail('ESPIPE');
    if (count < VeventHeader.size) fail('EINVAL');
    return this.queue.read(caller, address, count);
  }

  watchReadable(tell: (readable: boolean) => void): void {
    this.queue.watch(tell);
  }

  release(): void {
    this.queue.watch(null);
    this.queue.users--;
    this.context.drop();
  }
}

/**
 * IOMMU_VEVENTQ_ALLOC. EOPNOTSUPP: flags, reserved, the default type; EINVAL: the depth; ENOENT;
 * EEXIST: there is one of this type; EMFILE, EFAULT: then there is none.
 */
export function veventqAlloc(call: Call): void {
  const { buffer, context } = call;
  const { at } = VeventqAlloc;
  const type = buffer.u32(at.type);
  const isReserved = buffer.u32(at.flags) !== 0 || buffer.u32(at.__reserved) !== 0;
  if (isReserved || type === DEFAULT_TYPE) fail('EOPNOTSUPP');
  const depth = buffer.u32(at.veventq_depth);
  if (depth === 0 || depth > DEPTH_MAX) fail('EINVAL');
  const viommu = context.objects.get(buffer.u32(at.viommu_id), MockViommu);
  if (viommu.events.some((each) => each.type === type)) fail('EEXIST');
  const queue = new VeventQueue(viommu, type, depth);
  context.objects.add(queue);
  try {
    respondWithFile(call, new VeventFile(context, queue), (fd) => {
      buffer.setU32(at.out_veventq_id, queue.id);
      buffer.setU32(at.out_veventq_fd, fd);
    });
  } catch (error) {
    context.objects.remove(queue);
    throw error;
  }
}
