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
  formatPciAddress,
  notPciAddress,
  type PciAddress,
  parsePciAddress,
} from '../abi/pci-address.js';
import { HotResetInfoFlag, VFIO_PCI_DEVID_NOT_OWNED } from '../abi/vfio.js';
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
  /** Functions on the same segment and bus as this one, itself included, with their groups. */
  neighbours(
    pciFunction: PciFunction,
  ): readonly { readonly group: number; readonly pciFunction: PciFunction }[];
  /** The number of the group that a file is of; null: it is no group's. */
  groupOf(file: VfioFile): number | null;
}

const info = new ArgumentBuffer(PciHotResetInfo.size);
const request = new ArgumentBuffer(PciHotReset.size);

/** Throws RangeError where an address is none, or not spelt as programs and sysfs know it. */
export function checkAddress({ address }: PciFunction): void {
  const parsed = parsePciAddress(address);
  if (parsed === null || formatPciAddress(parsed) !== address)
    throw new RangeError(notPciAddress(address));
}

/** The address of a function that `checkAddress` has seen. */
export function addressOf(pciFunction: PciFunction): PciAddress {
  return parsePciAddress(pciFunction.address)!;
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
  binding: DeviceBinding,
): void {
  copyIn(caller, argument, info, PciHotResetInfo.size);
  if (addressOf(pciFunction).bus === 0) fail('ENODEV');
  const devices = bus.neighbours(pciFunction);
  const room = Math.floor(
    (info.u32(PciHotResetInfo.at.argsz) - PciHotResetInfo.size) / PciDependentDevice.size,
  );
  const ids = devices.map((device) => binding.idOf?.(device.pciFunction) ?? device.group);
  info.setU32(PciHotResetInfo.at.flags, binding.idOf === undefined ? 0 : flagsOf(ids));
  info.setU32(PciHotResetInfo.at.count, devices.length);
  copyOut(caller, argument, info, PciHotResetInfo.size);
  if (room < devices.length) fail('ENOSPC');
  devices.forEach((device, i) => {
    const { segment, bus: number, devfn } = addressOf(device.pciFunction);
    const entry = writeStruct(PciDependentDevice, {
      group_id: ids[i]!,
      segment,
      bus: number,
      devfn,
    });
    const at = argument + PciHotResetInfo.size + i * PciDependentDevice.size;
    if (!caller.mm.copyTo(at, entry)) fail('EFAULT');
  });
}

function flagsOf(ids: readonly number[]): number {
  const { VFIO_PCI_HOT_RESET_FLAG_DEV_ID: byId, VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED: owned } =
    HotResetInfoFlag;
  return ids.includes(VFIO_PCI_DEVID_NOT_OWNED) ? byId : byId | owned;
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
  const { idOf } = binding;
  if (idOf === undefined ? kernel.hotResetNeedsGroups && count === 0 : count !== 0) fail('EINVAL');
  if (addressOf(pciFunction).bus === 0) fail('ENODEV');
  const devices = bus.neighbours(pciFunction);
  if (count > devices.length) fail('EINVAL');
  const owned = readGroups(caller, argument + PciHotReset.size, count, bus);
  const ownsAll = devices.every(({ group, pciFunction: each }) =>
    idOf === undefined ? owned.includes(group) : binding.idOf!(each) !== VFIO_PCI_DEVID_NOT_OWNED,
  );
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
