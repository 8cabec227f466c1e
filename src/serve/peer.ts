/**
 * What the server asks its client: DMA_READ and DMA_WRITE, a few at a time.
 *
 * Questions that may be under way at once go out together, no more than surely fits into the
 * sockets' buffers with its answers, and are waited for together; answers may come in any order.
 *
 * On the main socket a client's own request may come in between: see session.ts. An answer that
 * makes no sense, or none, means that the client cannot be understood any more: the connection is
 * given up.
 */

import { allocateMessage, type MessageSocket } from '../exec/vfio-user/message-socket.js';
import {
  Command,
  MessageFlag,
  TYPE_COMMAND,
  TYPE_MASK,
  TYPE_REPLY,
} from '../vfio-user/protocol.js';
import { DmaAccess } from '../vfio-user/structs.js';
import type { Stretch, Transfer } from './foreign-space.js';

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
  /** Is called before questions. */
  readonly begin: () => void;
  /** Takes a request that came in between; false: that is not allowed, or they are too many. */
  readonly putAside: () => boolean;
}

const ID_END = 2 ** 16;
const COUNT_BYTES = 4;
/** Under way at once: questions, and bytes of their data, which QEMU sends in one call or loses. */
const QUESTIONS_MOST = 64;
export const ASKED_BYTES = 2 ** 16;
const message = allocateMessage();

/** A stretch that fits into a message. */
interface Question extends Stretch {
  id: number;
  /** Bytes before it in what is moved. */
  readonly before: number;
  state: 'open' | 'done' | 'refused';
}

export class Peer implements Transfer {
  /** Why nothing can be asked any more; null: all is well. */
  broken: string | null = null;
  /** Messages sent. */
  messages = 0;
  private id = 0;

  constructor(private readonly options: PeerOptions) {}

  move(isWrite: boolean, stretches: readonly Stretch[]): number {
    let [before, bytes] = [0, 0];
    let together: Question[] = [];
    for (const { address, buffer, length, offset } of stretches)
      for (let done = 0; done < length; ) {
        const count = Math.min(this.options.transferBytes, length - done);
        if (together.length === QUESTIONS_MOST || bytes + count > ASKED_BYTES) {
          const lost = this.ask(isWrite, together);
          if (lost !== null) return lost.before;
          [together, bytes] = [[], 0];
        }
        const piece = { address: address + done, buffer, length: count, offset: offset + done };
        together.push({ ...piece, id: -1, before, state: 'open' });
        done += count;
        before += count;
        bytes += count;
      }
    return this.ask(isWrite, together)?.before ?? before;
  }

  /** Questions and their answers; returns the first that the client refuses, or never answered. */
  private ask(isWrite: boolean, questions: Question[]): Question | null {
    const command = isWrite ? Command.DMA_WRITE : Command.DMA_READ;
    if (this.broken === null) this.options.begin();
    for (const question of questions) if (this.broken === null) this.send(command, question);
    for (let open = questions.length; open > 0 && this.broken === null; open--) {
      const { head } = this.options.socket;
      if (!this.awaitReply()) break;
      const found = questions.find(({ id, state }) => state === 'open' && id === head.id);
      if (found === undefined || head.command !== command || head.fault !== 'none')
        this.giveUp('answered what it was not asked');
      else found.state = this.take(isWrite, found) ? 'done' : 'refused';
    }
    return questions.find(({ state }) => state !== 'done') ?? null;
  }

  private send(command: number, question: Question): void {
    const { socket, waiting } = this.options;
    const { address, buffer, length, offset } = question;
    const isWrite = command === Command.DMA_WRITE;
    const { bytes } = message.body;
    const view = new DataView(bytes.buffer, bytes.byteOffset, DmaAccess.size);
    view.setBigUint64(DmaAccess.at.address, BigInt(address), true);
    view.setBigUint64(DmaAccess.at.count, BigInt(length), true);
    if (isWrite) bytes.set(buffer.bytes.subarray(offset, offset + length), DmaAccess.size);
    question.id = this.id;
    this.id = (this.id + 1) % ID_END;
    this.messages++;
    const head = { id: question.id, command, flags: TYPE_COMMAND, error: 0 };
    const size = DmaAccess.size + (isWrite ? length : 0);
    if (!socket.send(head, size, [], () => waiting.writable(socket.fd), message))
      this.giveUp('did not take a message in time');
  }

  /** Whether the answer that is there says that a stretch has moved. */
  private take(isWrite: boolean, { address, buffer, length, offset }: Question): boolean {
    const { body, head } = this.options.socket;
    if ((head.flags & MessageFlag.ERROR) !== 0) return false;
    const expected = DmaAccess.size + (isWrite ? 0 : length);
    // The specification has a count of 4 bytes in the answer to a write, its clients one of 8; and
    // what more there is says nothing.
    const least = isWrite ? DmaAccess.end.address + COUNT_BYTES : expected;
    if (body.length < least || (!isWrite && body.length > expected))
      return this.giveUp(`answered ${body.length} bytes where ${expected} were asked for`);
    const answered = new DataView(body.buffer, body.byteOffset, body.length);
    const { at } = DmaAccess;
    if (answered.getBigUint64(at.address, true) !== BigInt(address)) return false;
    if (answered.getUint32(at.count, true) !== length) return false;
    if (!isWrite) buffer.bytes.set(body.subarray(DmaAccess.size), offset);
    return true;
  }

  private awaitReply(): boolean {
    const { socket, waiting, putAside } = this.options;
    for (;;) {
      switch (socket.receive()) {
        case 'message':
          if ((socket.head.flags & TYPE_MASK) === TYPE_REPLY) return true;
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
    this.broken ??= why;
    return false;
  }
}
