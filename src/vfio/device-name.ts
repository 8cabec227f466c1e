/** The name in VFIO_GROUP_GET_DEVICE_FD: a PCI address, and options for virtual functions (kernel: vfio_pci_core_match). */
import { fail } from '../abi/errno.js';
import { PAGE_SIZE } from '../mm/address-space.js';
import type { VfioDevice } from './device.js';
import type { Caller } from './file.js';

const TOKEN_OPTION = 'vf_token=';
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/i;
const UUID_LENGTH = 36;

/** The device that the string at `address` names. EFAULT; EINVAL: above a page, or options that are wrong; ENODEV. */
export function findDevice(caller: Caller, address: number, devices: readonly VfioDevice[]): VfioDevice {
  const name = readString(caller, address);
  for (const device of devices) {
    const own = device.pciFunction.address;
    if (name === own) return device;
    if (name.startsWith(own) && name[own.length] === ' ') checkOptions(name.slice(own.length));
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

/** Options are for virtual functions and their physical ones; any for another, a right token included, is EINVAL. */
function checkOptions(options: string): void {
  let rest = options;
  while (rest !== '') {
    if (rest.startsWith(' ')) rest = rest.slice(1);
    else if (rest.startsWith(TOKEN_OPTION) && UUID.test(rest.slice(TOKEN_OPTION.length))) {
      rest = rest.slice(TOKEN_OPTION.length + UUID_LENGTH);
      fail('EINVAL');
    } else fail('EINVAL');
  }
}
