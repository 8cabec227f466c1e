/**
 * Descriptors that go with messages over a Unix socket (SCM_RIGHTS, unix(7)): it takes no right but
 * the socket.
 */
import {
  AF_UNIX,
  MSG_CMSG_CLOEXEC,
  SCM_RIGHTS,
  SOCK_CLOEXEC,
  SOCK_STREAM,
  SOL_SOCKET,
} from '../../abi/linux.js';
import { setLong } from '../../abi/long.js';
import { allocateNative, must, recvmsg, socketpair } from '../../mm/process/libc.js';

// One block: struct msghdr, struct iovec, and a struct cmsghdr with an int behind it. The layouts
// of 64-bit Linux.
const IOVEC = 64;
const CONTROL = 80;
const CONTROL_BYTES = 24;
/** CMSG_LEN(4) */
const CONTROL_LENGTH = 20;
const BLOCK_BYTES = 112;
/** A descriptor needs a byte that it goes with. */
const TEXT_BYTES = 1;
/** Word of msg_controllen. */
const CONTROL_LENGTH_AT = 40 / 4;

export class DescriptorMessage {
  private readonly block = allocateNative(BLOCK_BYTES);
  private readonly words = new Uint32Array(this.block.bytes.buffer, 0, BLOCK_BYTES / 4);
  private readonly text = allocateNative(TEXT_BYTES);

  /** Its struct msghdr, for sendmsg(2) with one byte and a descriptor. */
  get address(): number {
    return this.block.address;
  }

  /** Where its descriptor is put, 32 bits, before it is sent. */
  get descriptorAt(): number {
    return this.block.address + CONTROL + 16;
  }

  /** Prepares it to be sent. */
  prepare(): this {
    this.point();
    this.words[CONTROL / 4] = CONTROL_LENGTH;
    this.words[CONTROL / 4 + 2] = SOL_SOCKET;
    this.words[CONTROL / 4 + 3] = SCM_RIGHTS;
    return this;
  }

  /** What recvmsg(2) returns, and the descriptor that came, or -1. */
  receive(socket: number): { result: number; descriptor: number } {
    this.point();
    const result = recvmsg(socket, this.block.address, MSG_CMSG_CLOEXEC);
    const hasDescriptor = result > 0 && this.words[CONTROL_LENGTH_AT]! >= CONTROL_LENGTH;
    return { result, descriptor: hasDescriptor ? this.words[CONTROL / 4 + 4]! : -1 };
  }

  private point(): void {
    this.words.fill(0);
    this.pointer(16, this.block.address + IOVEC);
    this.words[6] = 1; // vectors
    this.pointer(IOVEC, this.text.address);
    this.words[IOVEC / 4 + 2] = TEXT_BYTES;
    this.pointer(32, this.block.address + CONTROL);
    this.words[CONTROL_LENGTH_AT] = CONTROL_BYTES;
  }

  private pointer(offset: number, address: number): void {
    setLong(this.words, offset / 4, address);
  }
}

/** Two connected sockets that messages go between. Throws SystemError. */
export function makeSocketPair(): [number, number] {
  const pair = allocateNative(8);
  must('socketpair', socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.address));
  return [...new Int32Array(pair.bytes.buffer, 0, 2)] as [number, number];
}
