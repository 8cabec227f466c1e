import { SCM_RIGHTS, SOL_SOCKET } from '../../abi/linux.js';
import { setLong } from '../../abi/long.js';
import type { DmaBuffer } from '../frame-memory.js';
import { allocateNative } from './libc.js';

// One block: struct msghdr, struct iovec, and a struct cmsghdr with descriptors behind it. The
// layouts of 64-bit Linux; words of 32 bits.
/** Words of msg_iov (msg_iovlen lies behind it) and of msg_control. */
const IOV_WORD = 4;
const CONTROL_PTR_WORD = 8;
const IOVEC = 64;
const CONTROL = 80;
const CONTROL_HEAD = 16;
const DESCRIPTOR_BYTES = 4;
/** Of msg_controllen. */
const CONTROL_LENGTH_WORD = 10;
const CMSG_WORD = CONTROL / 4;
const DESCRIPTORS_WORD = (CONTROL + CONTROL_HEAD) / 4;

/**
 * A struct msghdr for sendmsg(2) and recvmsg(2): one stretch of bytes, and the descriptors that go
 * with it (SCM_RIGHTS, unix(7)).
 */
export class MessageHeader {
  private readonly block: DmaBuffer;
  private readonly words: Uint32Array;

  /** `descriptorsMost`: those it has room for, at most 253 (SCM_MAX_FD). */
  constructor(private readonly descriptorsMost: number) {
    const bytes = CONTROL + controlSpace(descriptorsMost);
    this.block = allocateNative(bytes);
    this.words = new Uint32Array(this.block.bytes.buffer, 0, bytes / 4);
  }

  get address(): number {
    return this.block.address;
  }

  /** Where the first descriptor is, 32 bits. */
  get descriptorAddress(): number {
    return this.block.address + CONTROL + CONTROL_HEAD;
  }

  /** Bytes to be sent, with so many descriptors. */
  toSend(address: number, bytes: number, descriptors: number): void {
    this.point(address, bytes);
    if (descriptors > 0) this.addControl(descriptors);
  }

  /** Where bytes are to be received, and descriptors. */
  toReceive(address: number, bytes: number): void {
    this.point(address, bytes);
    this.addControl(this.descriptorsMost);
  }

  setDescriptors(descriptors: readonly number[]): void {
    this.words.set(descriptors, DESCRIPTORS_WORD);
  }

  /** Appends the descriptors that recvmsg(2) has put here. */
  takeDescriptors(into: number[]): void {
    const { words } = this;
    if (words[CONTROL_LENGTH_WORD]! < CONTROL_HEAD) return;
    if (words[CMSG_WORD + 2] !== SOL_SOCKET || words[CMSG_WORD + 3] !== SCM_RIGHTS) return;
    const count = (words[CMSG_WORD]! - CONTROL_HEAD) / DESCRIPTOR_BYTES;
    for (let index = 0; index < count; index++) into.push(words[DESCRIPTORS_WORD + index]!);
  }

  private point(address: number, bytes: number): void {
    const { words } = this;
    words.fill(0, 0, DESCRIPTORS_WORD);
    setLong(words, IOV_WORD, this.block.address + IOVEC);
    words[IOV_WORD + 2] = 1; // msg_iovlen
    setLong(words, IOVEC / 4, address);
    words[IOVEC / 4 + 2] = bytes;
  }

  private addControl(descriptors: number): void {
    const { words } = this;
    setLong(words, CONTROL_PTR_WORD, this.block.address + CONTROL);
    words[CONTROL_LENGTH_WORD] = controlSpace(descriptors);
    words[CMSG_WORD] = CONTROL_HEAD + DESCRIPTOR_BYTES * descriptors; // CMSG_LEN
    words[CMSG_WORD + 2] = SOL_SOCKET;
    words[CMSG_WORD + 3] = SCM_RIGHTS;
  }
}

/** CMSG_SPACE. */
function controlSpace(descriptors: number): number {
  return CONTROL_HEAD + DESCRIPTOR_BYTES * (descriptors + (descriptors % 2));
}
