/**
 * The name in VFIO_GROUP_GET_DEVICE_FD: a PCI address, and options for virtual functions (kernel:
 * vfio_pci_core_match).
 */
import { fail } from '../abi/errno.js';
import type { Caller } from '../file/caller.js';
import { PAGE_SIZE } from '../mm/address-space.js';
import type { VfioDevice } from './device.js';

/**
 * The device that the string at `address` names. EFAULT; EINVAL: above a page, or options that are
 * wrong; ENODEV.
 */
export function findDevice(
  caller: Caller,
  address: number,
  devices: readonly VfioDevice[],
): VfioDevice {
  const name = readString(caller, address);
  for (const device of devices) {
    const own = device.pciFunction.address;
    if (name === own) return device;
    // Options are for virtual functions and those that have some: any other than spaces is wrong
    // here, a token that is right too.
    if (!name.startsWith(`${own} `)) continue;
    if (name.slice(own.length).trim() !== '') fail('EINVAL');
    return device;
  }
  return fail('ENODEV');
}

/** strndup_user with a page as limit: the string may have 4,095 bytes before its NUL. */
function readString(caller: Caller, address: number): string {
  const byte = new Uint8Array(1);
  let text = '';
  for (let length = 0; length < PAGE_SIZE; length++) {
    if (!caller.mm.copyFrom(address + length, byte)) fail('EFAULT');
    if (byte[0] === 0) return text;
    text += String.fromCharCode(byte[0]!);
  }
  return fail('EINVAL');
}
