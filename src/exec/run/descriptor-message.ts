/**
 * Descriptors that go with messages over a Unix socket (SCM_RIGHTS, unix(7)): it takes no right but
 * the socket.
 */
import { AF_UNIX, MSG_CMSG_CLOEXEC, SOCK_CLOEXEC, SOCK_STREAM } from '../../abi/linux.js';
import { allocateNative, must, recvmsg, socketpair } from '../../mm/process/libc.js';
import { MessageHeader } from '../../mm/process/message-header.js';

/** A descriptor needs a byte that it goes with. */
const TEXT_BYTES = 1;

export class DescriptorMessage {
  private readonly header = new MessageHeader(1);
  private readonly text = allocateNative(TEXT_BYTES);

  /** Its struct msghdr, for sendmsg(2) with one byte and a descriptor. */
  get address(): number {
    return this.header.address;
  }

  /** Where its descriptor is put, 32 bits, before it is sent. */
  get descriptorAt(): number {
    return this.header.descriptorAddress;
  }

  /** Prepares it to be sent. */
  prepare(): this {
    this.header.toSend(this.text.address, TEXT_BYTES, 1);
    return this;
  }

  /** What recvmsg(2) returns, and the descriptor that came, or -1. */
  receive(socket: number): { result: number; descriptor: number } {
    this.header.toReceive(this.text.address, TEXT_BYTES);
    const result = recvmsg(socket, this.header.address, MSG_CMSG_CLOEXEC);
    const descriptors: number[] = [];
    if (result > 0) this.header.takeDescriptors(descriptors);
    return { result, descriptor: descriptors[0] ?? -1 };
  }
}

/** Two connected sockets that messages go between. Throws SystemError. */
export function makeSocketPair(): [number, number] {
  const pair = allocateNative(8);
  must('socketpair', socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.address));
  return [...new Int32Array(pair.bytes.buffer, 0, 2)] as [number, number];
}
