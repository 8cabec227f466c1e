import { Errno, VfioError } from '../abi/errno.js';
import type { VfioGroup } from './group.js';
import type { DriverMemory } from './pci-function.js';
import type { DriverPinning } from './type1/driver-pins.js';

/** The in-kernel interface of a container, as the driver of an open device has it (kernel: vfio_pin_pages and its like). */
export function driverMemory(group: VfioGroup, pinning: DriverPinning, canPin: boolean): DriverMemory {
  return {
    pin: (page, count, permission, frames) =>
      canPin ? errnoOf(() => pinning.pin(group, page, count, permission, frames)) : -Errno.EINVAL,
    unpin: (page, count) => pinning.unpin(page, count),
    read: (address, into) => errnoOf(() => pinning.readWrite(address, into, false)),
    write: (address, from) => errnoOf(() => pinning.readWrite(address, from, true)),
  };
}

/** 0, or minus the errno of a call that failed. */
function errnoOf(call: () => void): number {
  try {
    call();
    return 0;
  } catch (error) {
    if (!(error instanceof VfioError)) throw error;
    return -error.errno;
  }
}
