import { Errno, VfioError } from '../abi/errno.js';
import type { DriverPinning } from '../ioas/driver-pins.js';
import type { IommuGroup } from '../iommu/group.js';
import type { DriverMemory } from './pci-function.js';

/**
 * The in-kernel interface of a container or IOAS, as the driver of an open device has it (kernel:
 * vfio_pin_pages and its like).
 */
export class ContainerMemory implements DriverMemory {
  constructor(
    private readonly group: IommuGroup,
    /** Null: there is nothing mapped, or its driver cannot pin. */
    private readonly pinning: () => DriverPinning | null,
    private readonly canPin: boolean,
  ) {}

  pin(iovaPage: number, count: number, permission: number, frames: Float64Array): number {
    const pinning = this.pinning();
    if (!this.canPin || pinning === null) return -Errno.EINVAL;
    try {
      pinning.pin(this.group, iovaPage, count, permission, frames);
      return 0;
    } catch (error) {
      return minusErrno(error);
    }
  }

  unpin(iovaPage: number, count: number): void {
    this.pinning()?.unpin(iovaPage, count);
  }

  read(address: number, into: Uint8Array): number {
    return this.readWrite(address, into, false);
  }

  write(address: number, from: Uint8Array): number {
    return this.readWrite(address, from, true);
  }

  private readWrite(address: number, bytes: Uint8Array, write: boolean): number {
    const pinning = this.pinning();
    if (pinning === null) return -Errno.EINVAL;
    try {
      pinning.readWrite(address, bytes, write);
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
