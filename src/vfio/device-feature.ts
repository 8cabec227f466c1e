/**
 * VFIO_DEVICE_FEATURE (kernel: vfio_main.c, vfio_pci_core.c). Functions here have no migration and
 * no virtual functions; what is left are the low-power features, which are taken and kept track of
 * and change nothing.
 */
import { ArgumentBuffer } from '../abi/argument-buffer.js';
import { fail } from '../abi/errno.js';
import type { KernelProfile } from '../abi/kernel.js';
import { PciRegionIndex } from '../abi/pci.js';
import { DeviceFeatureFlag, VFIO_DEVICE_FEATURE_MASK } from '../abi/vfio.js';
import { DeviceFeature, DmaBufRequest, LowPowerWakeup } from '../abi/vfio-structs.js';
import { copyIn, takeEventfd } from '../file/argument.js';
import type { Caller } from '../file/caller.js';
import type { EventCounter } from '../file/file.js';

const {
  VFIO_DEVICE_FEATURE_GET: GET,
  VFIO_DEVICE_FEATURE_SET: SET,
  VFIO_DEVICE_FEATURE_PROBE: PROBE,
} = DeviceFeatureFlag;
const LOW_POWER_ENTRY = 3;
const LOW_POWER_ENTRY_WITH_WAKEUP = 4;
const LOW_POWER_EXIT = 5;
const DMA_BUF = 11;

const feature = new ArgumentBuffer(DeviceFeature.size);
const dmaBufRequest = new ArgumentBuffer(DmaBufRequest.size);
const wakeupBuffer = new ArgumentBuffer(LowPowerWakeup.size);

/** Whether a program has let a device sleep, and the eventfd that would tell it of a wake-up. */
export class LowPower {
  private entered = false;
  private wakeup: EventCounter | null = null;

  /** EINVAL: it sleeps already. */
  enter(wakeup: EventCounter | null): void {
    if (this.entered) {
      wakeup?.close();
      fail('EINVAL');
    }
    this.entered = true;
    this.wakeup = wakeup;
  }

  exit(): void {
    this.entered = false;
    this.wakeup?.close();
    this.wakeup = null;
  }
}

/**
 * EFAULT; EINVAL: argsz, flags, an operation that the feature does not have, a device that sleeps
 * already; ENOTTY: no such feature; EBADF and EINVAL for a wake-up eventfd.
 */
export function deviceFeature(
  caller: Caller,
  argument: number,
  lowPower: LowPower,
  kernel: KernelProfile,
): void {
  copyIn(caller, argument, feature, DeviceFeature.size);
  const flags = feature.u32(DeviceFeature.at.flags);
  if ((flags & ~(VFIO_DEVICE_FEATURE_MASK | GET | SET | PROBE)) !== 0) fail('EINVAL');
  if ((flags & PROBE) === 0 && (flags & GET) !== 0 && (flags & SET) !== 0) fail('EINVAL');
  const number = flags & VFIO_DEVICE_FEATURE_MASK;
  if (number === DMA_BUF && kernel.dmaBufFeature) {
    getDmaBuf(caller, argument, flags);
    return;
  }
  if (number < LOW_POWER_ENTRY || number > LOW_POWER_EXIT) fail('ENOTTY');
  // They can only be set.
  if ((flags & GET) !== 0) fail('EINVAL');
  if ((flags & PROBE) !== 0) return;
  if ((flags & SET) === 0) fail('EINVAL');
  if (number === LOW_POWER_EXIT) lowPower.exit();
  else lowPower.enter(number === LOW_POWER_ENTRY_WITH_WAKEUP ? wakeupOf(caller, argument) : null);
}

/**
 * A DMA-BUF of a BAR, for other drivers of the kernel: there are none to take it. What the kernel
 * refuses is refused in its order; a request that it would grant is EOPNOTSUPP, as where a machine
 * has no peer-to-peer DMA.
 */
function getDmaBuf(caller: Caller, argument: number, flags: number): void {
  if ((flags & SET) !== 0) fail('EINVAL');
  if ((flags & PROBE) !== 0) return;
  if ((flags & GET) === 0) fail('EINVAL');
  if (feature.u32(DeviceFeature.at.argsz) < DeviceFeature.size + DmaBufRequest.size) fail('EINVAL');
  if (!caller.mm.copyFrom(argument + DeviceFeature.size, dmaBufRequest.bytes)) fail('EFAULT');
  const { region_index: index, flags: reserved, nr_ranges: ranges } = DmaBufRequest.at;
  if (dmaBufRequest.u32(ranges) === 0 || dmaBufRequest.u32(reserved) !== 0) fail('EINVAL');
  if (dmaBufRequest.u32(index) >= PciRegionIndex.ROM) fail('ENODEV');
  fail('EOPNOTSUPP');
}

function wakeupOf(caller: Caller, argument: number): EventCounter {
  if (feature.u32(DeviceFeature.at.argsz) < DeviceFeature.size + LowPowerWakeup.size)
    fail('EINVAL');
  if (!caller.mm.copyFrom(argument + DeviceFeature.size, wakeupBuffer.bytes)) fail('EFAULT');
  if (wakeupBuffer.u32(LowPowerWakeup.at.reserved) !== 0) fail('EINVAL');
  return takeEventfd(caller, wakeupBuffer.s32(LowPowerWakeup.at.wakeup_eventfd));
}
