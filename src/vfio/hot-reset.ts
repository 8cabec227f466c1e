/**
 * VFIO_DEVICE_GET_PCI_HOT_RESET_INFO and VFIO_DEVICE_PCI_HOT_RESET: the reset of a bus with all
 * that is on it.
 *
 * A function on bus 0 has no bridge above it that could be reset: ENODEV.
 */
import { ArgumentBuffer } from '../abi/argument-buffer.js';
import { fail } from '../abi/errno.js';
import type { KernelProfile } from '../abi/kernel.js';
import { writeStruct } from '../abi/layout.js';
import {
  IrqSetDescriptor,
  PciDependentDevice,
  PciHotReset,
  PciHotResetInfo,
} from '../abi/vfio-structs.js';
import { copyIn, copyOut } from '../file/argument.js';
import type { Caller } from '../file/caller.js';
import type { VfioFile } from '../file/file.js';
import type { DeviceBinding } from './binding.js';
import type { PciFunction } from './pci-function.js';

/** Every function of the machine, by the bus that it is on. */
export interface PciBus {
  /** Functions on the same segment and bus as this address, with their groups. */
  neighbours(
    address: string,
  ): readonly { readonly group: number; readonly pciFunction: PciFunction }[];
  /** The number of the group that a file is of; null: it is no group's. */
  groupOf(file: VfioFile): number | null;
}

const info = new ArgumentBuffer(PciHotResetInfo.size);
const request = new ArgumentBuffer(PciHotReset.size);

interface PciAddress {
  readonly segment: number;
  readonly bus: number;
  readonly devfn: number;
}

/** Takes `0000:02:00.0` apart. */
export function parsePciAddress(address: string): PciAddress {
  const [segment = '', bus = '', rest = ''] = address.split(':');
  const [slot = '', number = ''] = rest.split('.');
  const devfn = Number.parseInt(slot, 16) * 8 + Number.parseInt(number, 16);
  return { segment: Number.parseInt(segment, 16), bus: Number.parseInt(bus, 16), devfn };
}

/**
 * EFAULT; EINVAL for a small argsz; ENODEV without a bus to reset; ENOSPC with the count where
 * argsz is too small for it.
 */
export function getHotResetInfo(
  caller: Caller,
  argument: number,
  pciFunction: PciFunction,
  bus: PciBus,
): void {
  copyIn(caller, argument, info, PciHotResetInfo.size);
  if (parsePciAddress(pciFunction.address).bus === 0) fail('ENODEV');
  const devices = bus.neighbours(pciFunction.address);
  const room = Math.floor(
    (info.u32(PciHotResetInfo.at.argsz) - PciHotResetInfo.size) / PciDependentDevice.size,
  );
  info.setU32(PciHotResetInfo.at.flags, 0);
  info.setU32(PciHotResetInfo.at.count, devices.length);
  copyOut(caller, argument, info, PciHotResetInfo.size);
  if (room < devices.length) fail('ENOSPC');
  devices.forEach((device, i) => {
    const { segment, bus: number, devfn } = parsePciAddress(device.pciFunction.address);
    const entry = writeStruct(PciDependentDevice, {
      group_id: device.group,
      segment,
      bus: number,
      devfn,
    });
    const at = argument + PciHotResetInfo.size + i * PciDependentDevice.size;
    if (!caller.mm.copyTo(at, entry)) fail('EFAULT');
  });
}

/**
 * Resets the bus where the caller holds every group on it. EINVAL: flags, count, a descriptor that
 * is no group, a group that is missing; EBADF; ENODEV: no bus to reset; ENOTTY: a function does not
 * come back from it.
 */
export function hotReset(
  caller: Caller,
  argument: number,
  pciFunction: PciFunction,
  bus: PciBus,
  kernel: KernelProfile,
  binding: DeviceBinding,
): void {
  copyIn(caller, argument, request, PciHotReset.size);
  const count = request.u32(PciHotReset.at.count);
  if (request.u32(PciHotReset.at.flags) !== 0) fail('EINVAL');
  if (kernel.hotResetNeedsGroups && count === 0) fail('EINVAL');
  if (parsePciAddress(pciFunction.address).bus === 0) fail('ENODEV');
  const devices = bus.neighbours(pciFunction.address);
  if (count > devices.length) fail('EINVAL');
  const owned = readGroups(caller, argument + PciHotReset.size, count, bus);
  const ownsAll =
    count === 0
      ? binding.ownsAll(devices.map((device) => device.pciFunction))
      : devices.every((device) => owned.includes(device.group));
  if (!ownsAll) fail('EINVAL');
  if (!devices.every((device) => device.pciFunction.busReset)) fail('ENOTTY');
  for (const { pciFunction } of devices) {
    pciFunction.reset();
    pciFunction.iommu.reset();
  }
}

function readGroups(caller: Caller, address: number, count: number, bus: PciBus): number[] {
  const bytes = new Uint8Array(count * IrqSetDescriptor.size);
  if (!caller.mm.copyFrom(address, bytes)) fail('EFAULT');
  const view = new DataView(bytes.buffer);
  return Array.from({ length: count }, (_, i) => {
    const file = caller.file(view.getInt32(i * IrqSetDescriptor.size, true));
    if (!file) fail('EBADF');
    const group = file.kind === 'vfio' ? bus.groupOf(file.file) : null;
    return group ?? fail('EINVAL');
  });
}
