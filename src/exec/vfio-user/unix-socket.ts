/** Stream sockets with a path (unix(7)). Calls return a descriptor, or minus an errno. */

import { Errno } from '../../abi/errno.js';
import { AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM } from '../../abi/linux.js';
import {
  accept4,
  allocateNative,
  bind,
  close,
  connect,
  errno,
  listen,
  socket,
} from '../../mm/process/libc.js';
import { isUnixPath, UNIX_ADDRESS_BYTES, unixAddress } from '../process/unix-address.js';

const address = allocateNative(UNIX_ADDRESS_BYTES);

/**
 * A socket that listens at a path, and does not wait in `acceptConnection`. A second client waits
 * in the backlog. EADDRINUSE: something is there; ENAMETOOLONG.
 */
export function listenAt(path: string): number {
  return opened(path, SOCK_NONBLOCK, (fd) =>
    bind(fd, address.address, UNIX_ADDRESS_BYTES) === 0 ? listen(fd, 1) : -1,
  );
}

/** A connection to who listens at a path. ENOENT, ECONNREFUSED, EACCES, ENAMETOOLONG. */
export function connectTo(path: string): number {
  return opened(path, 0, (fd) => connect(fd, address.address, UNIX_ADDRESS_BYTES));
}

/** The next client; -EAGAIN: nobody waits. */
export function acceptConnection(listening: number): number {
  const fd = accept4(listening, 0, 0, SOCK_CLOEXEC);
  return fd < 0 ? -errno() : fd;
}

function opened(path: string, flags: number, begin: (fd: number) => number): number {
  if (!isUnixPath(path)) return -Errno.ENAMETOOLONG;
  const fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
  if (fd < 0) return -errno();
  unixAddress(path, address);
  if (begin(fd) === 0) return fd;
  const error = errno();
  close(fd);
  return -error;
}
