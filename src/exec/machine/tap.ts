/**
 * Linux taps (linux/if_tun.h, Documentation/networking/tuntap.rst): a network card's frames, one by
 * each read and write.
 */

import { Errno, errnoName } from '../../abi/errno.js';
import { O_CLOEXEC, O_NONBLOCK, O_RDWR } from '../../abi/linux.js';
import type { NetworkPort } from '../../device/index.js';
import { UserError } from '../../input/user-error.js';
import { allocateNative, close, errno, ioctl, open, read, write } from '../../mm/process/libc.js';

const TUN = '/dev/net/tun';
const TUNSETIFF = 0x400454ca;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
/** struct ifreq: the name, then flags. */
const IFNAMSIZ = 16;
const IFREQ_BYTES = 40;

/**
 * Joins the tap `name`; where there is none it is made, and goes with the run. Throws UserError.
 */
export function openTap(name: string): NetworkPort {
  const fd = open(TUN, O_RDWR | O_CLOEXEC | O_NONBLOCK, 0);
  if (fd < 0) throw new UserError(`tap ${name}: cannot open ${TUN}: ${errnoName(errno())}`);
  const request = allocateNative(IFREQ_BYTES);
  request.bytes.set(Buffer.from(name));
  new DataView(request.bytes.buffer).setUint16(IFNAMSIZ, IFF_TAP | IFF_NO_PI, true);
  if (ioctl(fd, TUNSETIFF, request.address) < 0) {
    const error = errno();
    close(fd);
    throw new UserError(`cannot join the tap ${name}: ${errnoName(error)}${hint(error, name)}`);
  }
  return {
    send: (buffer, offset, length) => void write(fd, buffer.address + offset, length),
    receive: (buffer, offset, room) => Math.max(0, read(fd, buffer.address + offset, room)),
  };
}

function hint(error: number, name: string): string {
  if (error === Errno.EPERM)
    return `; root can make one for you: ip tuntap add dev ${name} mode tap user $USER`;
  if (error === Errno.EBUSY) return '; another program has it';
  return error === Errno.EINVAL ? '; is there another kind of interface of that name?' : '';
}
