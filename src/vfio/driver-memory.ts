import { Errno, VfioError } from '../abi/errno.js';
import type { DriverPinning } from '../ioas/driver-pins.js';
import type { IommuGroup } from '../iommu/group.js';
import type { DriverMemory } from './pci-function.js';

/**
 * The in-kernel interface of a container, as the driver of an open device has it (kernel:
 * vfio_pin_pages and its like).
 */
export class ContainerMemory implements DriverMemory {
  constructor(
    private readonly group: IommuGroup,
    private readonly pinning: DriverPinning,
    private readonly canPin: boolean,
  ) {}

  pin(iovaPage: number, count: number, permission: number, frames: Float64Array): number {
    if (!this.canPin) return -Errno.EINVAL;
    try {
      this.pinning.pin(this.group, iovaPage, count, permission, frames);
      return 0;
    } catch (error) {
      return minusErrno(error);
    }
  }

  unpin(iovaPage: number, count: number): void {
    this.pinning.unpin(iovaPage, count);
  }

  read(address: number, into: Uint8Array): number {
    return this.readWrite(address, into, false);
  }

  write(address: number, from: Uint8Array): number {
    return this.readWrite(address, from, true);
  }

  private readWrite(address: number, bytes: Uint8Array, write: boolean): number {
    try {
      this.pinning.readWrite(address, bytes, write);
      return 0;
    } catch (error) {
      return minusErrno(error);
    }
  }
}

function minusErrno(error: unknown): number {
  if (!(error instanceof VfioError)) throw error;
  return -error.errno;
}
