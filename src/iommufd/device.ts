/**
 * Devices that are bound to an iommufd (kernel: struct iommufd_device).
 *
 * Terms: devices of one IOMMU group go through one page table, as the IOMMU cannot tell them
 * apart; the first one's attachment is that of all.
 */
import { Errno, fail, VfioError } from '../abi/errno.js';
import type { Flow, FlowLock } from '../flow/flow.js';
import type { IommuDevice } from '../iommu/device.js';
import { areAlike } from '../iommu/geometry.js';
import type { IommuGroup } from '../iommu/group.js';
import type { IommufdContext } from './context.js';
import { PagingHwpt } from './hwpt.js';
import { Ioas } from './ioas.js';
import type { IommufdObject } from './objects.js';
import { PAGE } from './ranges.js';

/** The devices of a group that are bound to one context (kernel: struct iommufd_group). */
export interface AttachedGroup {
  readonly iommuGroup: IommuGroup;
  hwpt: PagingHwpt | null;
  readonly attached: BoundDevice[];
  /** Keeps attaching and detaching apart (kernel: igroup->lock). */
  readonly lock: FlowLock;
}

export class BoundDevice implements IommufdObject {
  id = 0;
  /** Its binding is a use: a program cannot destroy it. */
  users = 1;
  readonly group: AttachedGroup;

  /** EPERM: interrupts are not remapped, or another context has the group's DMA. */
  constructor(
    readonly context: IommufdContext,
    readonly device: IommuDevice,
  ) {
    const iommuGroup = device.group!;
    const { interruptRemapping } = iommuGroup.geometry;
    if (!interruptRemapping && !context.machine.allowUnsafeInterrupts) fail('EPERM');
    iommuGroup.claim(context, 'EPERM');
    this.group = context.groupOf(iommuGroup);
    context.objects.add(this);
    context.hold();
  }

  /** Where its accesses go, and what is mapped there; null: it is attached to nothing. */
  get ioas(): Ioas | null {
    return this.isAttached ? this.group.hwpt!.ioas : null;
  }

  get isAttached(): boolean {
    return this.group.attached.includes(this);
  }

  /**
   * Attaches it to a page table, or to an IOAS by a page table that its devices share or that is
   * made; one that is attached is moved, and with it all of its group. Returns the page table's id.
   * ENOENT: no such object; EINVAL: one of another kind, or its group is elsewhere; EADDRINUSE:
   * something is mapped where the device or its page table cannot have it; EFAULT, ENOMEM; ENODEV:
   * it cannot wait for a page.
   */
  *attach(id: number): Flow<number> {
    const target = this.context.objects.any(id) ?? fail('ENOENT');
    const isIoas = target instanceof Ioas;
    if (!isIoas && !(target instanceof PagingHwpt)) return fail('EINVAL');
    target.users++;
    yield* this.group.lock.acquire();
    try {
      if (isIoas) return yield* this.attachToIoas(target);
      yield* this.change(target);
      return target.id;
    } finally {
      this.group.lock.release();
      if (isIoas) target.users--;
      else target.drop();
    }
  }

  /** Its accesses are refused from now on, unless others of its group stay attached. */
  *detach(): Flow<void> {
    const { group } = this;
    yield* group.lock.acquire();
    try {
      if (this.isAttached) yield* this.leave(group.hwpt!);
    } finally {
      group.lock.release();
    }
  }

  /** The device's file is gone. */
  *unbind(): Flow<void> {
    yield* this.detach();
    this.users--;
    this.context.objects.remove(this);
  }

  destroy(): void {
    this.group.iommuGroup.unclaim();
    this.context.drop();
  }

  private *leave(hwpt: PagingHwpt): Flow<void> {
    const { group } = this;
    group.attached.splice(group.attached.indexOf(this), 1);
    if (group.attached.length === 0) {
      yield* hwpt.ioas.space.detachDevices(group.iommuGroup.devices);
      group.hwpt = null;
    }
    hwpt.ioas.reserved.removeOwner(this);
    hwpt.drop();
  }

  /** By a page table of the IOAS that suits the device, or else a new one; returns its id. */
  private *attachToIoas(ioas: Ioas): Flow<number> {
    for (const object of this.context.objects) {
      if (!(object instanceof PagingHwpt) || !object.isAuto || object.ioas !== ioas) continue;
      try {
        yield* this.change(object);
        return object.id;
      } catch (error) {
        if (!isIncompatible(error)) throw error;
      }
    }
    const { group, context } = this;
    // The kernel finds a group that is elsewhere only when it attaches the new table.
    if (group.hwpt !== null && !this.isAttached) fail('EINVAL');
    this.reserveIn(ioas);
    let hwpt: PagingHwpt;
    try {
      hwpt = new PagingHwpt(context, ioas, group.iommuGroup.geometry, true);
    } catch (error) {
      if (ioas !== this.ioas) this.forgetReserved(ioas);
      throw error;
    }
    context.objects.add(hwpt);
    yield* this.change(hwpt);
    return hwpt.id;
  }

  /** The page table goes with its last use, where one was made and cannot be entered. */
  private *change(hwpt: PagingHwpt): Flow<void> {
    hwpt.users++;
    try {
      if (this.isAttached) yield* this.replace(hwpt);
      else yield* this.attachTo(hwpt);
    } finally {
      hwpt.drop();
    }
  }

  private *attachTo(hwpt: PagingHwpt): Flow<void> {
    const { group } = this;
    if (group.hwpt !== null && group.hwpt !== hwpt) fail('EINVAL');
    this.checkFits(hwpt);
    this.reserveIn(hwpt.ioas);
    try {
      if (group.attached.length === 0) yield* this.enter(hwpt);
    } catch (error) {
      hwpt.ioas.reserved.removeOwner(this);
      throw error;
    }
    group.hwpt = hwpt;
    group.attached.push(this);
    hwpt.users++;
  }

  /** All devices of the group move, each in one step. */
  private *replace(hwpt: PagingHwpt): Flow<void> {
    const { group } = this;
    const old = group.hwpt!;
    if (old === hwpt) return;
    this.checkFits(hwpt);
    const elsewhere = hwpt.ioas !== old.ioas;
    if (elsewhere) this.reserveIn(hwpt.ioas);
    try {
      yield* this.enter(hwpt);
    } catch (error) {
      if (elsewhere) this.forgetReserved(hwpt.ioas);
      throw error;
    }
    if (elsewhere) this.forgetReserved(old.ioas);
    group.hwpt = hwpt;
    hwpt.users += group.attached.length;
    for (let count = group.attached.length; count > 0; count--) old.drop();
  }

  /**
   * EFAULT, ENOMEM: a device cannot wait for pages, and not all can be pinned; ENODEV. Then the
   * devices are where they were.
   */
  private *enter({ domain, ioas, fault }: PagingHwpt): Flow<void> {
    const { hwpt: old, iommuGroup } = this.group;
    const { devices } = iommuGroup;
    const { space, machine } = ioas;
    const queue = fault?.queue ?? null;
    // Without IOPF page requests are those of devices that have them anyway.
    const canAsk = (each: IommuDevice): boolean => machine.iopf !== 'off' || each.hasPri;
    if (queue !== null && !devices.every((each) => canAsk(each) && each.canWaitFor(queue)))
      fail('ENODEV');
    const canFault = devices.every((each) => each.canFault);
    // What a program maps when it is asked must be there when it has answered.
    if (queue !== null || (machine.iopf === 'auto' && !canFault)) yield* space.iopf.disable();
    if (space.iopf.enabled && !canFault) fail('ENODEV');
    if (old === null) yield* space.attachDevices(devices, domain, queue);
    else yield* old.ioas.space.moveDevices(devices, space, domain, queue);
  }

  /** EINVAL: the page table is of another kind of IOMMU. */
  private checkFits(hwpt: PagingHwpt): void {
    if (!areAlike(hwpt.domain.geometry, this.group.iommuGroup.geometry)) fail('EINVAL');
  }

  /**
   * Keeps the ranges that the device reserves free, and where it is attached those of its group.
   * EADDRINUSE.
   */
  private reserveIn(ioas: Ioas): void {
    if (ioas === this.ioas) return;
    this.forgetReserved(ioas);
    const { reserved } = this.group.iommuGroup.geometry;
    try {
      for (const device of this.moving)
        for (const { firstPage, pages } of reserved) {
          const first = BigInt(firstPage) * PAGE;
          ioas.reserve({ first, end: first + BigInt(pages) * PAGE }, device);
        }
    } catch (error) {
      this.forgetReserved(ioas);
      throw error;
    }
  }

  private forgetReserved(ioas: Ioas): void {
    for (const device of this.moving) ioas.reserved.removeOwner(device);
  }

  /** Those that go along when this one is attached. */
  private get moving(): readonly BoundDevice[] {
    return this.isAttached ? this.group.attached : [this];
  }
}

function isIncompatible(error: unknown): boolean {
  return error instanceof VfioError && error.errno === Errno.EINVAL;
}
