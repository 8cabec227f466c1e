/** Where clients come in: a socket at a path, or a descriptor that was inherited. */

import { unlinkSync } from 'node:fs';
import { Errno, errnoName } from '../abi/errno.js';
import { F_GETFL, F_SETFL, O_NONBLOCK } from '../abi/linux.js';
import { acceptConnection, connectTo, listenAt } from '../exec/vfio-user/unix-socket.js';
import { UserError } from '../input/user-error.js';
import { close, fcntl } from '../mm/process/libc.js';
import type { SocketPlace } from './serve-options.js';

export class Listener {
  /** The descriptor that can be read when a client is there; -1: none comes any more. */
  fd: number;
  private readonly path: string | null;
  /** Of a descriptor that is a connection: its one client has not been taken yet. */
  private only = -1;

  /** Throws UserError. */
  constructor(place: SocketPlace) {
    this.path = place.kind === 'path' ? place.path : null;
    this.fd = place.kind === 'path' ? listenOn(place.path) : place.fd;
    if (place.kind === 'path') return;
    const flags = fcntl(place.fd, F_GETFL, 0);
    if (flags < 0) throw new UserError(`--fd ${place.fd}: no such descriptor is open`);
    fcntl(place.fd, F_SETFL, flags | O_NONBLOCK);
    const first = acceptConnection(place.fd);
    if (first === -Errno.EAGAIN) return;
    // One that does not listen is a connection itself.
    this.only = first === -Errno.EINVAL ? place.fd : first;
    if (first === -Errno.EINVAL) this.fd = -1;
    else if (first < 0)
      throw new UserError(`--fd ${place.fd}: not a UNIX stream socket (${errnoName(-first)})`);
  }

  /** The next client's connection, or -1. */
  take(): number {
    const { only } = this;
    this.only = -1;
    if (only >= 0) return only;
    return this.fd < 0 ? -1 : Math.max(acceptConnection(this.fd), -1);
  }

  /** No client is there, and none comes. */
  get isClosed(): boolean {
    return this.fd < 0 && this.only < 0;
  }

  close(): void {
    if (this.fd >= 0) close(this.fd);
    this.fd = -1;
    if (this.path !== null) remove(this.path);
  }
}

/** A socket that nobody listens at any more is in the way of no one. */
function listenOn(path: string): number {
  let fd = listenAt(path);
  if (fd === -Errno.EADDRINUSE) {
    const other = connectTo(path);
    if (other >= 0) {
      close(other);
      throw new UserError(`--socket-path ${path}: somebody listens there already`);
    }
    if (other === -Errno.ECONNREFUSED) {
      remove(path);
      fd = listenAt(path);
    }
  }
  if (fd < 0) throw new UserError(`--socket-path ${path}: cannot listen there: ${errnoName(-fd)}`);
  return fd;
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It is gone already.
  }
}
