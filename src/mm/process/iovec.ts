import { allocateNative } from './libc.js';

/** UIO_MAXIOV: vectors that one process_vm_readv or process_vm_writev takes (linux/uio.h). */
export const IOVEC_MAX = 1024;

const HIGH = 2 ** 32;

/** An array of `struct iovec` at a native address, filled without allocation. */
export class IovecArray {
  readonly address: number;
  count = 0;
  private readonly words: Uint32Array;

  constructor(readonly capacity = IOVEC_MAX) {
    const memory = allocateNative(capacity * 16);
    this.address = memory.address;
    this.words = new Uint32Array(memory.bytes.buffer, 0, capacity * 4);
  }

  push(base: number, length: number): void {
    const word = this.count * 4;
    this.words[word] = base; // stores the low 32 bits
    this.words[word + 1] = base / HIGH;
    this.words[word + 2] = length;
    this.words[word + 3] = length / HIGH;
    this.count++;
  }
}
