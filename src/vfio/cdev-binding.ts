/** Devices that are held by files of their own, bound to an iommufd (kernel: device_cdev.c). */
import { ArgumentBuffer } from '../abi/argument-buffer.js';
import { fail } from '../abi/errno.js';
import {
  CdevIoctl,
  VFIO_DEVICE_ATTACH_PASID,
  VFIO_PCI_DEVID_NOT_OWNED,
  VFIO_PCI_DEVID_OWNED,
} from '../abi/vfio.js';
import {
  DeviceAttachIommufdPt,
  DeviceBindIommufd,
  DeviceDetachIommufdPt,
} from '../abi/vfio-structs.js';
import { copyIn, copyStruct } from '../file/argument.js';
import type { Caller } from '../file/caller.js';
import type { IoSpace } from '../ioas/io-space.js';
import { BoundDevice } from '../iommufd/device.js';
import { IommufdFile } from '../iommufd/iommufd-file.js';
import type { DeviceBinding } from './binding.js';
import type { VfioDevice } from './device.js';
import type { VfioGroup } from './group.js';
import type { PciFunction } from './pci-function.js';

const BIND_LEAST = DeviceBindIommufd.end.out_devid;
const request = new ArgumentBuffer(DeviceBindIommufd.size);
const word = new ArgumentBuffer(4);

export class CdevBinding implements DeviceBinding {
  readonly nesting = false;
  private bound: BoundDevice | null = null;

  constructor(
    private readonly device: VfioDevice,
    private readonly group: VfioGroup,
  ) {}

  get isGranted(): boolean {
    return this.bound !== null;
  }

  get space(): IoSpace | null {
    return this.bound?.ioas?.space ?? null;
  }

  control(caller: Caller, number: number, argument: number): boolean {
    if (number === CdevIoctl.VFIO_DEVICE_BIND_IOMMUFD) this.bind(caller, argument);
    else if (this.bound === null) fail('EINVAL');
    else if (number === CdevIoctl.VFIO_DEVICE_ATTACH_IOMMUFD_PT)
      this.attach(caller, argument, this.bound);
    else if (number === CdevIoctl.VFIO_DEVICE_DETACH_IOMMUFD_PT)
      this.detach(caller, argument, this.bound);
    else return false;
    return true;
  }

  idOf({ iommu }: PciFunction): number {
    const { context } = this.bound!;
    for (const object of context.objects)
      if (object instanceof BoundDevice && object.device === iommu) return object.id;
    return iommu.group!.isOwnedBy(context) ? VFIO_PCI_DEVID_OWNED : VFIO_PCI_DEVID_NOT_OWNED;
  }

  close(): void {
    if (this.bound === null) return;
    this.bound.unbind();
    this.group.cdevClosed(this.device);
  }

  /**
   * VFIO_DEVICE_BIND_IOMMUFD: the device is open from now on, and an object of the iommufd. EFAULT,
   * EINVAL (argsz, flags, a negative descriptor), E2BIG; EBUSY: its group is open; EINVAL: bound
   * already; EBADF; EBADFD: no iommufd; EINVAL: another file is bound; EPERM: see `BoundDevice`.
   */
  private bind(caller: Caller, argument: number): void {
    const { device, group } = this;
    const { at } = DeviceBindIommufd;
    if (device.machine.kernel.cdevGrows) copyStruct(caller, argument, request, BIND_LEAST);
    else copyIn(caller, argument, request, BIND_LEAST);
    if (request.u32(at.flags) !== 0 || request.s32(at.iommufd) < 0) fail('EINVAL');
    if (group.isHeld) fail('EBUSY');
    if (this.bound !== null) fail('EINVAL');
    const found = caller.file(request.s32(at.iommufd)) ?? fail('EBADF');
    if (found.kind !== 'vfio' || !(found.file instanceof IommufdFile)) fail('EBADFD');
    if (device.isOpen) fail('EINVAL');
    const bound = new BoundDevice(found.file.context, device.pciFunction.iommu);
    this.bound = bound;
    group.cdevOpened();
    device.open(this);
    word.setU32(0, bound.id);
    if (caller.mm.copyTo(argument + at.out_devid, word.bytes)) return;
    device.close();
    this.close();
    this.bound = null;
    fail('EFAULT');
  }

  /**
   * VFIO_DEVICE_ATTACH_IOMMUFD_PT. EFAULT; EINVAL: argsz, flags; and what `BoundDevice.attach`
   * answers. EFAULT where the id cannot be written: then it is attached to nothing.
   */
  private attach(caller: Caller, argument: number, bound: BoundDevice): void {
    const { device } = this;
    const { at, end } = DeviceAttachIommufdPt;
    copyIn(caller, argument, request, end.pt_id);
    if (this.hasPasid(caller, argument, end.pasid, at.flags)) fail('EINVAL');
    device.use(null);
    try {
      word.setU32(0, bound.attachOrReplace(request.u32(at.pt_id)));
    } finally {
      device.use(this.space);
    }
    if (caller.mm.copyTo(argument + at.pt_id, word.bytes)) return;
    this.leave(bound);
    fail('EFAULT');
  }

  /** VFIO_DEVICE_DETACH_IOMMUFD_PT; one that is not attached stays so. EFAULT; EINVAL. */
  private detach(caller: Caller, argument: number, bound: BoundDevice): void {
    const { at, end } = DeviceDetachIommufdPt;
    copyIn(caller, argument, request, end.flags);
    // No PASID is attached to anything here.
    if (this.hasPasid(caller, argument, end.pasid, at.flags)) return;
    this.leave(bound);
  }

  private leave(bound: BoundDevice): void {
    this.device.use(null);
    bound.detach();
  }

  /**
   * Whether the struct that was copied in is about a PASID, its last field. EINVAL: other flags, or
   * argsz does not have it; EFAULT.
   */
  private hasPasid(caller: Caller, argument: number, bytes: number, flagsAt: number): boolean {
    const flags = request.u32(flagsAt);
    const known = this.device.machine.kernel.cdevGrows ? VFIO_DEVICE_ATTACH_PASID : 0;
    if ((flags & ~known) !== 0) fail('EINVAL');
    if (flags === 0) return false;
    if (request.u32(0) < bytes) fail('EINVAL');
    copyIn(caller, argument, request, bytes);
    return true;
  }
}
