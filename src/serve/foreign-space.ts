/**
 * Memory of a client that this process cannot map: it is reached by messages, or through a
 * descriptor that is read and written. An address is the client's own, in bytes.
 */
import { type AddressSpace, PAGE_SIZE, READ, WRITE } from '../mm/address-space.js';
import type { DmaBuffer } from '../mm/frame-memory.js';
import { FRAMES_PER_SPACE } from '../mm/process/frames.js';
import { allocateNative } from '../mm/process/libc.js';

/** Bytes at an address of a client's, and where they go to or come from. */
export interface Stretch {
  readonly address: number;
  readonly length: number;
  readonly buffer: DmaBuffer;
  readonly offset: number;
}

/**
 * Moves stretches that may be under way at once. Returns how many bytes went before the first that
 * could not; those behind it may have moved.
 */
export interface Transfer {
  move(isWrite: boolean, stretches: readonly Stretch[]): number;
}

const BOUNCE_BYTES = 1 << 16;
const bounce = allocateNative(BOUNCE_BYTES);

export class ForeignSpace implements AddressSpace {
  readonly taskSize = FRAMES_PER_SPACE * PAGE_SIZE;
  readonly invalidations = 0;
  readonly lockedPages = 0;
  readonly lockLimitPages = Number.POSITIVE_INFINITY;
  readonly ipcLock = true;
  /** The client has refused it: whoever asks for it next does not get it. */
  private lostPage = -1;

  constructor(
    readonly id: number,
    private readonly transfer: Transfer,
  ) {}

  copyFrom(address: number, into: Uint8Array): boolean {
    for (let done = 0; done < into.length; ) {
      const length = Math.min(BOUNCE_BYTES, into.length - done);
      if (!this.moveBounced(false, address + done, length)) return false;
      into.set(bounce.bytes.subarray(0, length), done);
      done += length;
    }
    return true;
  }

  copyTo(address: number, from: Uint8Array): boolean {
    for (let done = 0; done < from.length; ) {
      const length = Math.min(BOUNCE_BYTES, from.length - done);
      bounce.bytes.set(from.subarray(done, done + length));
      if (!this.moveBounced(true, address + done, length)) return false;
      done += length;
    }
    return true;
  }

  private moveBounced(isWrite: boolean, address: number, length: number): boolean {
    const stretch = { address, length, buffer: bounce, offset: 0 };
    return this.transfer.move(isWrite, [stretch]) === length;
  }

  /** As `Transfer.move`; the page that could not move is lost. */
  move(isWrite: boolean, stretches: readonly Stretch[]): number {
    const moved = this.transfer.move(isWrite, stretches);
    let left = moved;
    for (const { address, length } of stretches) {
      if (left < length) {
        this.lostPage = Math.floor((address + left) / PAGE_SIZE);
        break;
      }
      left -= length;
    }
    return moved;
  }

  /**
   * Nobody can say whether the client has a page, short of moving bytes. One that it has refused is
   * not there, and may be asked for again later; a page-in that asks for more than the device does
   * is followed by another.
   */
  pageIn(first: number, count: number, access: number, frames: Float64Array): number {
    if (first === this.lostPage) {
      if (access !== (READ | WRITE)) this.lostPage = -1;
      return 0;
    }
    const base = this.id * FRAMES_PER_SPACE + first;
    for (let index = 0; index < count; index++) frames[index] = base + index;
    return count;
  }

  pin(first: number, count: number, access: number, frames: Float64Array): number {
    return this.pageIn(first, count, access, frames);
  }

  unpin(): void {}

  accountLocked(): void {}

  /** Its pages go nowhere without a word of the client, which is DMA_UNMAP. */
  subscribe(): () => void {
    return () => {};
  }
}
