/**
 * Descriptors that go with messages over a Unix socket (SCM_RIGHTS, unix(7)): it takes no right but
 * the socket.
 */
import { allocateNative, must, recvmsg, sendmsg, socketpair } from '../../mm/process/libc.js';

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_CMSG_CLOEXEC = 0x40000000;
const HIGH = 2 ** 32;

// One block: struct msghdr, struct iovec, and a struct cmsghdr with an int behind it. The layouts
// of 64-bit Linux.
const IOVEC = 64;
const CONTROL = 80;
const CONTROL_BYTES = 24;
/** CMSG_LEN(4) */
const CONTROL_LENGTH = 20;
const BLOCK_BYTES = 112;
/** Word of msg_controllen. */
const CONTROL_LENGTH_AT = 40 / 4;

export class DescriptorMessage {
  private readonly block = allocateNative(BLOCK_BYTES);
  private readonly words = new Uint32Array(this.block.bytes.buffer, 0, BLOCK_BYTES / 4);
  private readonly text: ReturnType<typeof allocateNative>;

  /** For messages of up to so many bytes. */
  constructor(private readonly textBytes: number) {
    this.text = allocateNative(textBytes);
  }

  /** Where the bytes of a message lie in this process. */
  get address(): number {
    return this.text.address;
  }

  /** Sends a text, cut to what there is room for. */
  send(socket: number, text: string): void {
    this.prepare(text, false);
    this.sendPrepared(socket, -1);
  }

  /** Puts the next message together; `sendPrepared` sends it. */
  prepare(text: string, withDescriptor: boolean): void {
    const bytes = Buffer.from(text).subarray(0, this.textBytes);
    this.text.bytes.set(bytes);
    this.point(bytes.length, withDescriptor);
    this.words[CONTROL / 4] = CONTROL_LENGTH;
    this.words[CONTROL / 4 + 2] = SOL_SOCKET;
    this.words[CONTROL / 4 + 3] = SCM_RIGHTS;
  }

  /** Takes no memory. `descriptor`: the one that goes with it, if it was prepared for one. */
  sendPrepared(socket: number, descriptor: number): void {
    this.words[CONTROL / 4 + 4] = descriptor;
    sendmsg(socket, this.block.address, 0);
  }

  /**
   * What recvmsg(2) returns, the text, and the descriptor that came with it, or -1.
   */
  receive(socket: number): { result: number; text: string; descriptor: number } {
    this.point(this.textBytes, true);
    const result = recvmsg(socket, this.block.address, MSG_CMSG_CLOEXEC);
    const text = Buffer.from(this.text.bytes.slice(0, Math.max(result, 0))).toString();
    const hasDescriptor = result > 0 && this.words[CONTROL_LENGTH_AT]! >= CONTROL_LENGTH;
    return { result, text, descriptor: hasDescriptor ? this.words[CONTROL / 4 + 4]! : -1 };
  }

  private point(textBytes: number, withControl: boolean): void {
    this.words.fill(0);
    this.pointer(16, this.block.address + IOVEC);
    this.words[6] = 1; // vectors
    this.pointer(IOVEC, this.text.address);
    this.words[IOVEC / 4 + 2] = textBytes;
    if (!withControl) return;
    this.pointer(32, this.block.address + CONTROL);
    this.words[CONTROL_LENGTH_AT] = CONTROL_BYTES;
  }

  private pointer(offset: number, address: number): void {
    this.words[offset / 4] = address;
    this.words[offset / 4 + 1] = address / HIGH;
  }
}

/** Two connected sockets that messages go between. Throws SystemError. */
export function makeSocketPair(): [number, number] {
  const pair = allocateNative(8);
  must('socketpair', socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.address));
  return [...new Int32Array(pair.bytes.buffer, 0, 2)] as [number, number];
}
