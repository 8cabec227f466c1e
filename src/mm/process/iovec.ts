import { setLong } from '../../abi/long.js';
import { allocateNative } from './libc.js';

/** UIO_MAXIOV: vectors that one process_vm_readv or process_vm_writev takes (linux/uio.h). */
export const IOVEC_MAX = 1024;
/** Bytes of a `struct iovec`: an address and a length, 64 bits each. */
export const IOVEC_BYTES = 16;

/** An array of `struct iovec` at a native address, filled without allocation. */
export class IovecArray {
  readonly address: number;
  count = 0;
  private readonly words: Uint32Array;

  constructor(readonly capacity = IOVEC_MAX) {
    const memory = allocateNative(capacity * IOVEC_BYTES);
    this.address = memory.address;
    this.words = new Uint32Array(memory.bytes.buffer, 0, capacity * 4);
  }

  push(base: number, length: number): void {
    const word = this.count++ * 4;
    setLong(this.words, word, base);
    setLong(this.words, word + 2, length);
  }
}
