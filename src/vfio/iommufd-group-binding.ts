import { ArgumentBuffer } from '../abi/argument-buffer.js';
import { fail } from '../abi/errno.js';
import { CdevIoctl } from '../abi/vfio.js';
import { DeviceBindIommufd } from '../abi/vfio-structs.js';
import { copyIn } from '../file/argument.js';
import type { Caller } from '../file/caller.js';
import type { IoSpace } from '../ioas/io-space.js';
import type { IommufdContext } from '../iommufd/context.js';
import { BoundDevice } from '../iommufd/device.js';
import { compatIoas } from '../iommufd/vfio-compat.js';
import type { DeviceBinding } from './binding.js';
import type { VfioDevice } from './device.js';

const bind = new ArgumentBuffer(DeviceBindIommufd.end.out_devid);

/**
 * A device that is held by its group, whose container is an iommufd: all its files share one object
 * there, which is attached to the compat IOAS for as long.
 */
export class IommufdGroupBinding implements DeviceBinding {
  readonly isGranted = true;
  readonly nesting = false;
  private readonly bound: BoundDevice;
  private files = 0;

  /** EPERM: see `BoundDevice`. */
  constructor(
    context: IommufdContext,
    private readonly device: VfioDevice,
    /** The last file is gone. */
    private readonly closed: () => void,
  ) {
    this.bound = new BoundDevice(context, device.pciFunction.iommu);
  }

  get space(): IoSpace | null {
    return this.bound.ioas?.space ?? null;
  }

  /** ENODEV: there is no compat IOAS; and what `BoundDevice.attach` answers. */
  attach(): void {
    this.bound.attach(compatIoas(this.bound.context).id);
    this.device.use(this.space);
  }

  /** VFIO_DEVICE_BIND_IOMMUFD is for a device's own file: EFAULT, EINVAL. */
  control(caller: Caller, request: number, argument: number): boolean {
    if (request !== CdevIoctl.VFIO_DEVICE_BIND_IOMMUFD) return false;
    copyIn(caller, argument, bind, bind.capacity);
    return fail('EINVAL');
  }

  /** A file more of the device. */
  hold(): void {
    this.files++;
  }

  close(): void {
    if (--this.files > 0) return;
    this.bound.unbind();
    this.closed();
  }
}
