/** Asks for descriptors that stand in a call's struct, and says what it sees of them. */

import { readlinkSync } from 'node:fs';
import { errnoName } from '../../../src/abi/errno.js';
import { O_RDWR } from '../../../src/abi/linux.js';
import { allocateNative, errno, ioctl, open } from '../../../src/mm/process/libc.js';
import { ReserveIoctl, window } from './reserve-ioctl.js';

const argument = allocateNative(4096);
const numbers = new Int32Array(argument.bytes.buffer, 0, 1);
const fd = open('/dev/vfio/vfio', O_RDWR, 0);

/** What is open in the window now. */
function descriptors(): string[] {
  const found: string[] = [];
  for (let number = window.first; number < window.end; number++) {
    try {
      found.push(`${number} ${readlinkSync(`/proc/self/fd/${number}`)}`);
    } catch {
      // Not open.
    }
  }
  return found;
}

function call(descriptor: number, request: number, address = argument.address): unknown {
  numbers[0] = -1;
  const result = ioctl(descriptor, request, address);
  return result < 0 ? errnoName(errno()) : { result, number: numbers[0] & 0xffff };
}

const cancelled = call(fd, ReserveIoctl.CANCEL);
const afterCancel = descriptors();
const fault = call(fd, ReserveIoctl.INSTALL, 8);
const afterFault = descriptors();
const installed = call(fd, ReserveIoctl.INSTALL);
const afterInstall = descriptors();
const throughTheNewOne = call(window.first + 1, ReserveIoctl.INSTALL);
const aside = call(fd, ReserveIoctl.ASIDE);
const many: unknown[] = [];
for (let count = 4; count <= window.end - window.first; count++)
  many.push(call(fd, ReserveIoctl.INSTALL));
process.stdout.write(
  JSON.stringify({
    fd,
    cancelled,
    afterCancel,
    fault,
    afterFault,
    installed,
    afterInstall,
    throughTheNewOne,
    aside,
    last: many.at(-2),
    tooMany: many.at(-1),
  }),
);
