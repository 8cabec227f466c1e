import { allocateNative } from './libc.js';

/** A struct timespec for ppoll(2). Nothing else may be written there: it is set only in part. */
export class Timespec {
  private readonly memory = allocateNative(16);
  private readonly words = new Uint32Array(this.memory.bytes.buffer, 0, 4);

  /** Milliseconds, at least 0; returns the address. */
  set(ms: number): number {
    const seconds = Math.floor(ms / 1000);
    this.words[0] = seconds;
    this.words[2] = (ms - seconds * 1000) * 1e6;
    return this.memory.address;
  }
}
