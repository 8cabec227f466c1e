/** Other processes that have devices of the run: sockets to them, and waiting for them. */

import { fstatSync } from 'node:fs';
import { Errno, errnoName } from '../../abi/errno.js';
import { O_CLOEXEC, O_NONBLOCK, POLLIN, POLLOUT } from '../../abi/linux.js';
import type { Channel, MemoryFile, PeerEvent, PeerHost } from '../../device/vfio-user/host.js';
import { UserError } from '../../input/user-error.js';
import type { AddressSpace } from '../../mm/address-space.js';
import { allocateNative, close, eventfd, must, poll } from '../../mm/process/libc.js';
import type { EventSet } from '../seccomp/event-set.js';
import type { Waited } from '../seccomp/supervisor.js';
import { fileOf, memoryOf } from './memory-files.js';
import { MessageSocket } from './message-socket.js';
import { connectTo } from './unix-socket.js';

/** struct pollfd of the two sockets of a server, and of one that is full. */
const POLLED = 3;
/** How long a server is waited for before the program is served meanwhile. */
const ALONE_MS = 10;

/** What serves the program while a server is waited for. */
export interface PeerService {
  readonly events: EventSet;
  serveUntil(waited: readonly Waited[], untilMs: number): boolean;
}

/** A channel whose watch begins with the run. */
interface Watch {
  readonly fd: number;
  readonly readable: () => void;
  stop: (() => void) | null;
}

export class Peers implements PeerHost {
  private readonly watches = new Set<Watch>();
  private readonly sockets = new Map<Channel, MessageSocket>();
  private service: PeerService | null = null;
  private readonly polls = allocateNative(POLLED * 8);
  private readonly fds = new Int32Array(this.polls.bytes.buffer, 0, POLLED * 2);
  private readonly shorts = new Int16Array(this.polls.bytes.buffer, 0, POLLED * 4);

  constructor(readonly nowMs: () => number) {}

  /** The run begins. */
  serveBy(service: PeerService): void {
    this.service = service;
    for (const watch of this.watches) this.begin(watch, service);
  }

  connect(path: string): Channel {
    const fd = connectTo(path);
    if (fd >= 0) return this.channel(fd);
    const hint = fd === -Errno.ENAMETOOLONG ? 'a socket has a short path' : 'does a server listen?';
    throw new UserError(`device vfio-user: cannot connect to ${path}: ${errnoName(-fd)}; ${hint}`);
  }

  channel(fd: number): Channel {
    const socket = new MessageSocket(fd);
    this.sockets.set(socket, socket);
    return socket;
  }

  wait(channels: readonly Channel[], full: Channel | null, untilMs: number): boolean {
    const waited = channels.map((channel) => ({ fd: this.fdOf(channel), events: POLLIN }));
    if (full !== null) waited.push({ fd: this.fdOf(full), events: POLLOUT });
    const leftMs = Math.max(0, Math.ceil(untilMs - this.nowMs()));
    const { service } = this;
    const aloneMs = service === null ? leftMs : Math.min(ALONE_MS, leftMs);
    if (this.isReady(waited, aloneMs) || service === null || aloneMs === leftMs) return true;
    return service.serveUntil(waited, untilMs);
  }

  watch(channel: Channel, readable: () => void): () => void {
    const watch: Watch = { fd: this.fdOf(channel), readable, stop: null };
    this.watches.add(watch);
    if (this.service !== null) this.begin(watch, this.service);
    return () => {
      watch.stop?.();
      this.watches.delete(watch);
    };
  }

  makeEvent(signalled: () => void): PeerEvent {
    const fd = must('eventfd', eventfd(0, O_CLOEXEC | O_NONBLOCK));
    const stop = this.service?.events.watchEventfd(fd, signalled);
    return {
      fd,
      close() {
        stop?.();
        close(fd);
      },
    };
  }

  fileBytes(fd: number): number {
    const stat = fstatSync(fd);
    return stat.isFile() ? stat.size : -1;
  }

  closeFile(fd: number): void {
    close(fd);
  }

  fileOf(mm: AddressSpace, first: number, count: number, permission: number): MemoryFile | null {
    return fileOf(mm, first, count, permission);
  }

  memoryOf(mm: AddressSpace): MemoryFile | null {
    return memoryOf(mm);
  }

  private begin(watch: Watch, { events }: PeerService): void {
    watch.stop = events.watchReadable(watch.fd, watch.readable);
  }

  private fdOf(channel: Channel): number {
    return this.sockets.get(channel)!.fd;
  }

  private isReady(waited: readonly Waited[], ms: number): boolean {
    waited.forEach(({ fd, events }, index) => {
      this.fds[2 * index] = fd;
      this.shorts[4 * index + 2] = events;
    });
    return poll(this.polls.address, waited.length, ms) > 0;
  }
}
