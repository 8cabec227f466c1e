import { Errno } from '../abi/errno.js';
import { type AddressSpace, PAGE_SIZE } from './address-space.js';
import type { SimulatedFile } from './simulated-file.js';

/** The pages of a simulated file as memory of nobody's: address 0 is its first byte. */
export class SimulatedFileSpace implements AddressSpace {
  readonly id = 0;
  readonly taskSize = Number.MAX_SAFE_INTEGER;
  readonly invalidations = 0;
  readonly lockedPages = 0;
  readonly lockLimitPages = Number.POSITIVE_INFINITY;
  readonly ipcLock = true;

  constructor(private readonly file: SimulatedFile) {}

  copyFrom(address: number, into: Uint8Array): boolean {
    return this.copy(address, into, (frame, offset, part) => {
      this.file.memory.readPage(frame, offset, part);
    });
  }

  copyTo(address: number, from: Uint8Array): boolean {
    return this.copy(address, from, (frame, offset, part) => {
      this.file.memory.writePage(frame, offset, part);
    });
  }

  pageIn(first: number, count: number, _access: number, frames: Float64Array): number {
    for (let i = 0; i < count; i++) {
      frames[i] = this.file.frameFor(first + i);
      if (frames[i]! < 0) return i;
    }
    return count;
  }

  /** EINVAL: the first page is behind the end (kernel: memfd_pin_folios). */
  pin(first: number, count: number, access: number, frames: Float64Array): number {
    const got = this.pageIn(first, count, access, frames);
    for (let i = 0; i < got; i++) this.file.memory.pin(frames[i]!);
    return got === 0 ? -Errno.EINVAL : got;
  }

  unpin(frames: Float64Array, count: number): void {
    for (let i = 0; i < count; i++) this.file.memory.unpin(frames[i]!);
  }

  accountLocked(): void {}

  subscribe(): () => void {
    return () => {};
  }

  private copy(
    address: number,
    bytes: Uint8Array,
    one: (frame: number, offset: number, part: Uint8Array) => void,
  ): boolean {
    for (let done = 0; done < bytes.length; ) {
      const at = address + done;
      const offset = at % PAGE_SIZE;
      const frame = this.file.frameFor(Math.floor(at / PAGE_SIZE));
      if (frame < 0) return false;
      const part = bytes.subarray(done, done + PAGE_SIZE - offset);
      one(frame, offset, part);
      done += part.length;
    }
    return true;
  }
}
