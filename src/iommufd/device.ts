/**
 * Devices that are bound to an iommufd (kernel: struct iommufd_device).
 *
 * Terms: devices of one IOMMU group go through one page table, as the IOMMU cannot tell them
 * apart; the first one's attachment is that of all.
 */
import { Errno, fail, VfioError } from '../abi/errno.js';
import { runDirect } from '../flow/direct.js';
import type { Flow, FlowLock } from '../flow/flow.js';
import type { IommuDevice } from '../iommu/device.js';
import type { IommuGroup } from '../iommu/group.js';
import type { FaultingDevice } from '../iommu/page-request.js';
import type { IommufdContext } from './context.js';
import { type Hwpt, isHwpt, PagingHwpt } from './hwpt.js';
import { Ioas } from './ioas.js';
import type { Iommu } from './iommu.js';
import type { IommufdObject } from './objects.js';
import { VtdIommu } from './vtd-iommu.js';

/** The PASID of what a device does without one (kernel: IOMMU_NO_PASID). */
export const NO_PASID = 0;

/** The devices of a group that go through a page table (kernel: struct iommufd_attach). */
interface Attachment {
  hwpt: Hwpt;
  readonly devices: BoundDevice[];
}

/** The devices of a group that are bound to one context (kernel: struct iommufd_group). */
export interface AttachedGroup {
  readonly iommuGroup: IommuGroup;
  /** By PASID; without devices there is none. */
  readonly attachments: Map<number, Attachment>;
  /** Keeps attaching and detaching apart (kernel: igroup->lock). */
  readonly lock: FlowLock;
}

/** How a device comes to a page table. */
type Enter = (hwpt: Hwpt) => Flow<void>;

export class BoundDevice implements IommufdObject {
  id = 0;
  /** Its binding is a use: a program cannot destroy it. */
  users = 1;
  readonly group: AttachedGroup;

  /** EPERM: interrupts are not remapped, or another context has the group's DMA. */
  constructor(
    readonly context: IommufdContext,
    readonly device: IommuDevice,
    readonly iommu: Iommu = new VtdIommu(context.machine, device),
    /** The context lives while the device is bound. */
    private readonly keepsContext = true,
  ) {
    const iommuGroup = device.group!;
    if (!iommu.remapsInterrupts && !context.machine.allowUnsafeInterrupts) fail('EPERM');
    iommuGroup.claim(context, 'EPERM');
    this.group = context.groupOf(iommuGroup);
    context.objects.add(this);
    if (keepsContext) context.hold();
  }

  /** Where its accesses go, and what is mapped there; null: it is attached to nothing. */
  get ioas(): Ioas | null {
    return this.hwpt()?.ioas ?? null;
  }

  /** What it is attached to; null: nothing. */
  hwpt(pasid = NO_PASID): Hwpt | null {
    const attachment = this.group.attachments.get(pasid);
    return attachment?.devices.includes(this) === true ? attachment.hwpt : null;
  }

  /** Whether its page requests come from there. */
  asksAs(asker: FaultingDevice): boolean {
    return asker === this.device || this.iommu.isAsker?.(asker) === true;
  }

  /** Attaches it, or moves it if it is attached: VFIO_DEVICE_ATTACH_IOMMUFD_PT. See below. */
  attachOrReplace(id: number): number {
    return runDirect(this.attachOrReplaceFlow(id));
  }

  /**
   * Attaches it to a page table, or to an IOAS by a page table that its devices share or that is
   * made. Returns the page table's id. ENOENT: no such object; EINVAL: one of another kind, or its
   * group is elsewhere; EADDRINUSE: something is mapped where the device or its page table cannot
   * have it; EFAULT, ENOMEM; ENODEV: it cannot wait for a page; EBUSY: it is attached already.
   */
  attach(id: number, pasid = NO_PASID): number {
    const enter: Enter = (hwpt) => this.attachTo(hwpt, pasid);
    return runDirect(this.change(id, pasid, enter));
  }

  /**
   * Moves it, and with it all of its group, without a moment in which it is attached to nothing.
   * EINVAL: it is not attached; else as `attach`.
   */
  replace(id: number, pasid = NO_PASID): number {
    const enter: Enter = (hwpt) => this.moveTo(hwpt, pasid);
    return runDirect(this.change(id, pasid, enter));
  }

  /** Its accesses are refused from now on, unless others of its group stay attached. */
  detach(pasid = NO_PASID): void {
    runDirect(this.detachFlow(pasid));
  }

  /** The device's file is gone. */
  unbind(): void {
    for (const pasid of [...this.group.attachments.keys()]) this.detach(pasid);
    this.users--;
    this.context.objects.remove(this);
  }

  /** `attachOrReplace` as a path that may wait. */
  attachOrReplaceFlow(id: number): Flow<number> {
    return this.change(id, NO_PASID, (hwpt) =>
      this.hwpt() === null ? this.attachTo(hwpt, NO_PASID) : this.moveTo(hwpt, NO_PASID),
    );
  }

  *detachFlow(pasid = NO_PASID): Flow<void> {
    const { attachments, lock } = this.group;
    yield* lock.acquire();
    try {
      const attachment = attachments.get(pasid);
      if (attachment?.devices.includes(this)) yield* this.leave(attachment, pasid);
    } finally {
      lock.release();
    }
  }

  destroy(): void {
    this.group.iommuGroup.unclaim();
    if (this.keepsContext) this.context.drop();
  }

  private *leave({ hwpt, devices }: Attachment, pasid: number): Flow<void> {
    devices.splice(devices.indexOf(this), 1);
    if (devices.length === 0) {
      yield* this.iommu.detach(hwpt, pasid);
      this.group.attachments.delete(pasid);
    }
    if (pasid === NO_PASID) hwpt.ioas.reserved.removeOwner(this);
    this.users--;
    hwpt.drop();
  }

  /** What it is to enter is in use meanwhile (kernel: iommufd_get_object). */
  private *change(id: number, pasid: number, enter: Enter): Flow<number> {
    const target = this.context.objects.any(id) ?? fail('ENOENT');
    const isIoas = target instanceof Ioas;
    if (!isIoas && !isHwpt(target)) return fail('EINVAL');
    target.users++;
    yield* this.group.lock.acquire();
    try {
      if (isIoas) return yield* this.changeToIoas(target, pasid, enter);
      yield* enter(target);
      return target.id;
    } finally {
      this.group.lock.release();
      if (isIoas) target.users--;
      else target.drop();
    }
  }

  /** By a page table of the IOAS that suits the device, or else a new one; returns its id. */
  private *changeToIoas(ioas: Ioas, pasid: number, enter: Enter): Flow<number> {
    for (const object of this.context.objects) {
      if (!(object instanceof PagingHwpt) || !object.isAuto || object.ioas !== ioas) continue;
      try {
        yield* held(object, enter);
        return object.id;
      } catch (error) {
        if (!isIncompatible(error)) throw error;
      }
    }
    const { context } = this;
    const isAttached = this.hwpt(pasid) !== null;
    // The kernel finds a group that is elsewhere only when it attaches the new table.
    if (this.group.attachments.has(pasid) && !isAttached) fail('EINVAL');
    if (pasid === NO_PASID) this.reserveIn(ioas);
    let hwpt: PagingHwpt;
    try {
      hwpt = new PagingHwpt(context.objects, ioas, this.iommu.newTable(0, null), true);
    } catch (error) {
      if (ioas !== this.ioas) this.forgetReserved(ioas);
      throw error;
    }
    context.objects.add(hwpt);
    yield* held(hwpt, enter);
    return hwpt.id;
  }

  private *attachTo(hwpt: Hwpt, pasid: number): Flow<void> {
    const { attachments } = this.group;
    const attachment = attachments.get(pasid);
    if (attachment?.devices.includes(this) === true) fail('EBUSY');
    if (attachment !== undefined && attachment.hwpt !== hwpt) fail('EINVAL');
    this.checkFits(hwpt, pasid);
    if (pasid === NO_PASID) this.reserveIn(hwpt.ioas);
    try {
      if (attachment === undefined) yield* this.iommu.attach(hwpt, pasid);
    } catch (error) {
      if (pasid === NO_PASID) hwpt.ioas.reserved.removeOwner(this);
      throw error;
    }
    if (attachment === undefined) attachments.set(pasid, { hwpt, devices: [this] });
    else attachment.devices.push(this);
    this.users++;
    hwpt.users++;
  }

  /** All devices of the group move, each in one step. */
  private *moveTo(hwpt: Hwpt, pasid: number): Flow<void> {
    const attachment = this.group.attachments.get(pasid);
    if (attachment?.devices.includes(this) !== true) return fail('EINVAL');
    const { hwpt: old, devices } = attachment;
    if (old === hwpt) return;
    this.checkFits(hwpt, pasid);
    const elsewhere = pasid === NO_PASID && hwpt.ioas !== old.ioas;
    if (elsewhere) this.reserveIn(hwpt.ioas);
    try {
      yield* this.iommu.replace(old, hwpt, pasid);
    } catch (error) {
      if (elsewhere) this.forgetReserved(hwpt.ioas);
      throw error;
    }
    if (elsewhere) this.forgetReserved(old.ioas);
    attachment.hwpt = hwpt;
    hwpt.users += devices.length;
    for (let count = devices.length; count > 0; count--) old.drop();
  }

  /**
   * EINVAL: the page table is of another kind of IOMMU, or does not go together with what the
   * device's other PASIDs are attached to (kernel: iommufd_hwpt_pasid_compat).
   */
  private checkFits(hwpt: Hwpt, pasid: number): void {
    if (!this.iommu.accepts(hwpt)) fail('EINVAL');
    const { attachments } = this.group;
    if (pasid === NO_PASID) {
      const hasOthers = [...attachments.keys()].some((each) => each !== NO_PASID);
      if (hasOthers && !hwpt.takesPasids) fail('EINVAL');
    } else {
      const plain = attachments.get(NO_PASID);
      if (!hwpt.takesPasids || plain?.hwpt.takesPasids === false) fail('EINVAL');
    }
  }

  /**
   * Keeps the ranges that the device reserves free, and where it is attached those of its group.
   * EADDRINUSE.
   */
  private reserveIn(ioas: Ioas): void {
    if (ioas === this.ioas) return;
    this.forgetReserved(ioas);
    try {
      for (const device of this.moving)
        for (const range of device.iommu.reserved) ioas.reserve(range, device);
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
    return this.hwpt() === null ? [this] : this.group.attachments.get(NO_PASID)!.devices;
  }
}

/** Enters a page table that goes when it is made and cannot be entered. */
function* held(hwpt: PagingHwpt, enter: Enter): Flow<void> {
  hwpt.users++;
  try {
    yield* enter(hwpt);
  } finally {
    hwpt.drop();
  }
}

function isIncompatible(error: unknown): boolean {
  return error instanceof VfioError && error.errno === Errno.EINVAL;
}
