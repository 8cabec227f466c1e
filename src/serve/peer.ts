/**
 * What the server asks its client: DMA_READ and DMA_WRITE, one at a time, each waited for.
 *
 * On the main socket a client's own request may come in between: see session.ts. An answer that
 * makes no sense, or none, means that the client cannot be understood any more: the connection is
 * given up.
 */

import { allocateMessage, type MessageSocket } from '../exec/vfio-user/message-socket.js';
import type { DmaBuffer } from '../mm/frame-memory.js';
import {
  Command,
  MessageFlag,
  TYPE_COMMAND,
  TYPE_MASK,
  TYPE_REPLY,
} from '../vfio-user/protocol.js';
import { DmaAccess } from '../vfio-user/structs.js';
import type { Transfer } from './foreign-space.js';

/** Waits until a socket can be read or written; false: the time is up, or the server ends. */
export interface Waiting {
  readable(fd: number): boolean;
  writable(fd: number): boolean;
}

export interface PeerOptions {
  readonly socket: MessageSocket;
  /** Bytes of data in one message: what the client takes, and what fits. */
  readonly transferBytes: number;
  readonly waiting: Waiting;
  /** Is called before a question. */
  readonly begin: () => void;
  /** Takes a request that came in between; false: that is not allowed, or they are too many. */
  readonly putAside: () => boolean;
}

const ID_END = 2 ** 16;
const COUNT_BYTES = 4;
const message = allocateMessage();

export class Peer implements Transfer {
  /** Why nothing can be asked any more; null: all is well. */
  broken: string | null = null;
  /** Messages sent. */
  messages = 0;
  private id = 0;

  constructor(private readonly options: PeerOptions) {}

  read(address: number, length: number, buffer: DmaBuffer, offset: number): number {
    return this.pieces(Command.DMA_READ, address, length, buffer, offset);
  }

  write(address: number, length: number, buffer: DmaBuffer, offset: number): number {
    return this.pieces(Command.DMA_WRITE, address, length, buffer, offset);
  }

  private pieces(
    command: number,
    address: number,
    length: number,
    buffer: DmaBuffer,
    offset: number,
  ): number {
    const { transferBytes } = this.options;
    for (let done = 0; done < length; ) {
      const count = Math.min(transferBytes, length - done);
      if (!this.ask(command, address + done, count, buffer, offset + done)) return done;
      done += count;
    }
    return length;
  }

  /** One question and its answer; false: the client refuses, or is broken. */
  private ask(
    command: number,
    address: number,
    count: number,
    buffer: DmaBuffer,
    offset: number,
  ): boolean {
    if (this.broken !== null) return false;
    const { begin, socket, waiting } = this.options;
    begin();
    const isWrite = command === Command.DMA_WRITE;
    const { bytes } = message.body;
    const view = new DataView(bytes.buffer, bytes.byteOffset, DmaAccess.size);
    view.setBigUint64(DmaAccess.at.address, BigInt(address), true);
    view.setBigUint64(DmaAccess.at.count, BigInt(count), true);
    if (isWrite) bytes.set(buffer.bytes.subarray(offset, offset + count), DmaAccess.size);
    const head = { id: this.id, command, flags: TYPE_COMMAND, error: 0 };
    this.id = (this.id + 1) % ID_END;
    this.messages++;
    const size = DmaAccess.size + (isWrite ? count : 0);
    if (!socket.send(head, size, [], () => waiting.writable(socket.fd), message))
      return this.giveUp('did not take a message in time');
    if (!this.awaitReply(head.id, command)) return false;
    if ((socket.head.flags & MessageFlag.ERROR) !== 0) return false;
    const { body } = socket;
    const expected = DmaAccess.size + (isWrite ? 0 : count);
    // The specification has a count of 4 bytes in the answer to a write, its clients one of 8; and
    // what more there is says nothing.
    const least = isWrite ? DmaAccess.end.address + COUNT_BYTES : expected;
    if (body.length < least || (!isWrite && body.length > expected))
      return this.giveUp(`answered ${body.length} bytes where ${expected} were asked for`);
    const answered = new DataView(body.buffer, body.byteOffset, body.length);
    const { at } = DmaAccess;
    if (answered.getBigUint64(at.address, true) !== BigInt(address)) return false;
    if (answered.getUint32(at.count, true) !== count) return false;
    if (!isWrite) buffer.bytes.set(body.subarray(DmaAccess.size), offset);
    return true;
  }

  private awaitReply(id: number, command: number): boolean {
    const { socket, waiting, putAside } = this.options;
    const { head } = socket;
    for (;;) {
      switch (socket.receive()) {
        case 'message':
          if ((head.flags & TYPE_MASK) === TYPE_REPLY) {
            if (head.id === id && head.command === command && head.fault === 'none') return true;
            return this.giveUp('answered what it was not asked');
          }
          if (!putAside()) return this.giveUp('sends requests and answers none');
          break;
        case 'waiting':
          if (!waiting.readable(socket.fd)) return this.giveUp('did not answer in time');
          break;
        case 'closed':
          return this.giveUp('is gone');
      }
    }
  }

  private giveUp(why: string): false {
    this.broken = why;
    return false;
  }
}
