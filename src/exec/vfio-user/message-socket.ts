/**
 * One connection between a vfio-user client and server: messages with descriptors (SCM_RIGHTS,
 * unix(7)) over a stream socket. Both sides use it; neither call waits, but where it is told how.
 */
import { Errno } from '../../abi/errno.js';
import { MSG_CMSG_CLOEXEC } from '../../abi/linux.js';
import type { DmaBuffer } from '../../mm/frame-memory.js';
import { allocateNative, close, errno, recvmsg, sendmsg, shutdown } from '../../mm/process/libc.js';
import { MessageHeader } from '../../mm/process/message-header.js';
import { type MessageHead, writeHeader } from '../../vfio-user/header.js';
import { MessageReader } from '../../vfio-user/message-reader.js';
import { BODY_BYTES } from '../../vfio-user/protocol.js';
import { HEADER_BYTES } from '../../vfio-user/structs.js';

const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const SHUT_RDWR = 2;

/** SCM_MAX_FD: the kernel passes no more with one message. */
export const DESCRIPTORS_MAX = 253;

const MESSAGE_BYTES = HEADER_BYTES + BODY_BYTES;

/** Room for one message, in native memory. */
export interface MessageBuffer {
  readonly whole: DmaBuffer;
  /** Where its body begins. */
  readonly body: DmaBuffer;
  readonly view: DataView;
}

export function allocateMessage(): MessageBuffer {
  const whole = allocateNative(MESSAGE_BYTES);
  const body = {
    bytes: whole.bytes.subarray(HEADER_BYTES),
    address: whole.address + HEADER_BYTES,
  };
  return { whole, body, view: new DataView(whole.bytes.buffer, 0, MESSAGE_BYTES) };
}

interface MessageMemory {
  readonly incoming: MessageBuffer;
  readonly outgoing: MessageBuffer;
  readonly header: MessageHeader;
}

/** Of connections that are closed: native memory is never unmapped. */
const spare: MessageMemory[] = [];

export class MessageSocket {
  /** The header of the message that `receive` has completed. */
  readonly head: MessageReader;
  /** Where bodies begin: of what came, and of what goes, in native memory. */
  readonly received: DmaBuffer;
  readonly outgoing: DmaBuffer;
  /** Descriptors that came with the message; who wants one takes it out. */
  readonly descriptors: number[] = [];
  private readonly memory = spare.pop() ?? allocateMemory();
  private isComplete = false;

  /** Owns the descriptor of a connected stream socket. */
  constructor(readonly fd: number) {
    const { incoming, outgoing } = this.memory;
    this.head = new MessageReader(incoming.whole.bytes);
    this.received = incoming.body;
    this.outgoing = outgoing.body;
  }

  /**
   * Takes what has come: 'message' where that completes one, which stays until the next call. Its
   * descriptors that nobody has taken by then are closed.
   */
  receive(): 'message' | 'waiting' | 'closed' {
    const { head } = this;
    if (this.isComplete) {
      this.closeDescriptors();
      head.next();
      this.isComplete = false;
    }
    for (;;) {
      const got = this.receiveSome(head.at, head.wanted);
      if (got > 0) {
        if (!head.received(got)) continue;
        this.isComplete = true;
        return 'message';
      }
      const error = errno();
      if (got < 0 && error === Errno.EINTR) continue;
      return got < 0 && error === Errno.EAGAIN ? 'waiting' : 'closed';
    }
  }

  /** The body of the message that is there; it is the socket's memory. */
  get body(): Uint8Array {
    return this.received.bytes.subarray(0, this.head.bodyBytes);
  }

  /**
   * Sends a header and the first `bodyBytes` of `outgoing`, or of the body of `from`, in one call
   * where there is room. Where there is none, `wait` waits for it and says whether to go on. False:
   * the peer is gone, or nobody waited; the connection is of no use then.
   */
  send(
    head: MessageHead,
    bodyBytes: number,
    descriptors: readonly number[],
    wait: () => boolean,
    from: MessageBuffer = this.memory.outgoing,
  ): boolean {
    writeHeader(from.view, head, bodyBytes);
    const size = HEADER_BYTES + bodyBytes;
    const start = from.whole.address;
    const { header } = this.memory;
    for (let done = 0; done < size; ) {
      header.toSend(start + done, size - done, done === 0 ? descriptors.length : 0);
      if (done === 0) header.setDescriptors(descriptors);
      const sent = sendmsg(this.fd, header.address, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent > 0) done += sent;
      else if (errno() === Errno.EAGAIN) {
        if (!wait()) return false;
      } else if (errno() !== Errno.EINTR) return false;
    }
    return true;
  }

  /**
   * Nothing of it may be used any more. The peer reads what was sent, and then the end: what is
   * left unread here would reset the connection instead, which ends a QEMU in the middle of DMA.
   */
  close(): void {
    shutdown(this.fd, SHUT_RDWR);
    while (this.receiveSome(0, MESSAGE_BYTES) > 0);
    this.closeDescriptors();
    close(this.fd);
    spare.push(this.memory);
  }

  private closeDescriptors(): void {
    for (const fd of this.descriptors) close(fd);
    this.descriptors.length = 0;
  }

  private receiveSome(at: number, bytes: number): number {
    const { header, incoming } = this.memory;
    header.toReceive(incoming.whole.address + at, bytes);
    const got = recvmsg(this.fd, header.address, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got > 0) header.takeDescriptors(this.descriptors);
    return got;
  }
}

function allocateMemory(): MessageMemory {
  return {
    incoming: allocateMessage(),
    outgoing: allocateMessage(),
    header: new MessageHeader(DESCRIPTORS_MAX),
  };
}
