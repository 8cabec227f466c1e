/**
 * Wires between runs: a folder with a datagram socket (unix(7)) of each end. What an end sends goes
 * to every other socket there, a frame in each datagram; ends come and go as they like.
 */

import { randomBytes } from 'node:crypto';
import { readdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { Errno, errnoName } from '../../abi/errno.js';
import { AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK } from '../../abi/linux.js';
import { FrameQueue, QUEUE_BYTES } from '../../device/frame-queue.js';
import type { NetworkPort } from '../../device/index.js';
import { makeFolder } from '../../input/make-folder.js';
import { codeOf } from '../../input/named-file.js';
import { UserError } from '../../input/user-error.js';
import type { DmaBuffer } from '../../mm/frame-memory.js';
import { allocateNative, bind, close, errno, recv, sendto, socket } from '../../mm/process/libc.js';
import { isUnixPath, UNIX_ADDRESS_BYTES, unixAddress } from '../process/unix-address.js';

const SUFFIX = '.iopf';
const NAME_BYTES = 8;
/** An Ethernet header. */
const FRAME_LEAST = 14;
/** How often it is looked for ends that have come. */
const LOOK_US = 50_000;

interface Peer {
  readonly address: DmaBuffer;
  /** What it had no room for. */
  readonly waiting: Uint8Array;
  readonly queue: FrameQueue;
}

export class UnixLink implements NetworkPort {
  private readonly fd: number;
  private readonly name: string;
  private readonly peers = new Map<string, Peer>();
  /** A frame that has waited, where it can be sent from. */
  private readonly again = allocateNative(QUEUE_BYTES);
  private lookedUs = Number.NEGATIVE_INFINITY;

  /** Joins the wire in a folder, which is made where it is not there. Throws UserError. */
  constructor(private readonly folder: string) {
    this.name = `${randomBytes(NAME_BYTES).toString('hex')}${SUFFIX}`;
    if (!isUnixPath(join(folder, this.name)))
      throw new UserError(`link=unix:${folder}: the path is too long for sockets in it`);
    try {
      makeFolder(folder);
    } catch (error) {
      throw new UserError(`link=unix:${folder}: cannot make the folder: ${codeOf(error)}`);
    }
    this.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const address = unixAddress(join(folder, this.name));
    if (this.fd >= 0 && bind(this.fd, address.address, UNIX_ADDRESS_BYTES) === 0) return;
    const error = errno();
    if (this.fd >= 0) close(this.fd);
    throw new UserError(`link=unix:${folder}: cannot make a socket there: ${errnoName(error)}`);
  }

  send(buffer: DmaBuffer, offset: number, length: number): void {
    for (const [name, peer] of this.peers) {
      const { queue } = peer;
      if (queue.isEmpty && this.hand(name, peer, buffer.address + offset, length)) continue;
      queue.push(buffer, offset, length);
    }
  }

  receive(buffer: DmaBuffer, offset: number, room: number): number {
    const length = recv(this.fd, buffer.address + offset, room, 0);
    return length >= FRAME_LEAST ? length : 0;
  }

  /** When `deliver` has something to do, in microseconds: at once while frames wait for room. */
  get dueUs(): number {
    for (const { queue } of this.peers.values())
      if (!queue.isEmpty) return Number.NEGATIVE_INFINITY;
    return this.lookedUs + LOOK_US;
  }

  /** Sends what others have room for now, and looks who has come. */
  deliver(nowUs: number): void {
    for (const [name, peer] of this.peers) {
      const { queue, waiting } = peer;
      while (!queue.isEmpty) {
        const { start, length } = queue;
        this.again.bytes.set(waiting.subarray(start, start + length));
        if (!this.hand(name, peer, this.again.address, length)) break;
        queue.shift();
      }
    }
    if (nowUs - this.lookedUs < LOOK_US) return;
    this.lookedUs = nowUs;
    this.look();
  }

  /** The end goes, and its name with it. */
  close(): void {
    close(this.fd);
    remove(join(this.folder, this.name));
  }

  private look(): void {
    let names: string[] = [];
    try {
      names = readdirSync(this.folder);
    } catch {
      // Somebody took the folder away: nobody is there.
    }
    const there = new Set(names);
    for (const name of this.peers.keys()) if (!there.has(name)) this.peers.delete(name);
    for (const name of there) {
      if (!name.endsWith(SUFFIX) || name === this.name || this.peers.has(name)) continue;
      const path = join(this.folder, name);
      if (!isUnixPath(path)) continue;
      const waiting = new Uint8Array(QUEUE_BYTES);
      const queue = new FrameQueue(waiting);
      this.peers.set(name, { address: unixAddress(path), waiting, queue });
    }
  }

  /** False: the peer has no room now. A peer that has died is forgotten, and its socket removed. */
  private hand(name: string, { address }: Peer, from: number, length: number): boolean {
    if (sendto(this.fd, from, length, 0, address.address, UNIX_ADDRESS_BYTES) >= 0) return true;
    const error = errno();
    if (error === Errno.EAGAIN || error === Errno.ENOBUFS) return false;
    if (error === Errno.ECONNREFUSED) remove(join(this.folder, name));
    if (error !== Errno.EMSGSIZE) this.peers.delete(name);
    return true;
  }
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It is gone already.
  }
}
