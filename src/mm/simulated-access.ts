/** How pages of a simulated process are reached: by the program, for translations and for pins. */
import { Errno } from '../abi/errno.js';
import { PAGE_SIZE, READ, WRITE } from './address-space.js';
import type { Areas } from './areas.js';
import type { SimulatedMemory } from './simulated-memory.js';
import type { SimulatedNotifiers } from './simulated-notifiers.js';
import { FORBIDDEN, NO_MEMORY, type SimulatedPages, WAITS } from './simulated-pages.js';

export class SimulatedAccess {
  constructor(
    private readonly memory: SimulatedMemory,
    private readonly areas: Areas,
    private readonly pages: SimulatedPages,
    private readonly notifiers: SimulatedNotifiers,
    /** A pin makes a page of private memory the process's own, also one for reading. */
    private readonly pinUnshares: boolean,
  ) {}

  /** Copies bytes as the program would read them; false where it could not. */
  copyFrom(address: number, into: Uint8Array): boolean {
    for (let done = 0; done < into.length; ) {
      const at = address + done;
      const offset = at % PAGE_SIZE;
      const length = Math.min(PAGE_SIZE - offset, into.length - done);
      const frame = this.reach(Math.floor(at / PAGE_SIZE), READ);
      if (frame < 0) return false;
      this.memory.readPage(frame, offset, into.subarray(done, done + length));
      done += length;
    }
    return true;
  }

  /** Copies bytes as the program would write them; false where it could not. */
  copyTo(address: number, from: Uint8Array): boolean {
    for (let done = 0; done < from.length; ) {
      const at = address + done;
      const offset = at % PAGE_SIZE;
      const length = Math.min(PAGE_SIZE - offset, from.length - done);
      const frame = this.reach(Math.floor(at / PAGE_SIZE), WRITE);
      if (frame < 0) return false;
      this.memory.writePage(frame, offset, from.subarray(done, done + length));
      done += length;
    }
    return true;
  }

  /** The program sets every byte of whole pages; false where one cannot be written. */
  fill(first: number, count: number, byte: number): boolean {
    for (let page = first; page < first + count; page++) {
      const frame = this.reach(page, WRITE);
      if (frame < 0) return false;
      this.memory.setAll(frame, byte);
    }
    return true;
  }

  /**
   * The frames of up to `count` pages, brought in where they are not at hand; returns how many, or
   * why there is none (FORBIDDEN, WAITS, NO_MEMORY). `keepsOut`: pages whose invalidation is open
   * must be waited for.
   */
  bringIn(
    first: number,
    count: number,
    access: number,
    frames: Float64Array,
    mayWait: boolean,
    keepsOut: boolean,
  ): number {
    const end = first + count;
    const mayHold = keepsOut && this.notifiers.anyOpen;
    let at = count > 1 && !mayHold ? first + this.atHand(first, count, access, frames) : first;
    while (at < end) {
      const area = this.areas.find(at);
      const stop = area === null ? at : Math.min(end, area.end);
      let frame = FORBIDDEN;
      for (; at < stop; at++) {
        const held = mayHold && this.notifiers.openAt(at) !== 0;
        frame = held ? WAITS : this.pages.frameFor(area!, at, access, mayWait);
        if (frame < 0) break;
        frames[at - first] = frame;
      }
      if (frame < 0) return at === first ? frame : at - first;
    }
    return count;
  }

  /**
   * Pins up to `count` pages and returns how many, or minus the errno (ENOMEM, EFAULT). A pin is a
   * reference to what is there: it does not keep out of an invalidation.
   */
  pin(first: number, count: number, access: number, frames: Float64Array): number {
    const got = this.bringIn(first, count, access, frames, true, false);
    if (got < 0) return got === NO_MEMORY ? -Errno.ENOMEM : -Errno.EFAULT;
    for (let i = 0; i < got; i++) {
      const area = this.areas.find(first + i)!;
      // Bringing a later page in may have reclaimed an earlier one; pinned at once, it stays.
      let frame = this.pages.frameFor(area, first + i, access, true);
      if (frame >= 0 && !area.shared && this.mustUnshare(frame))
        frame = this.pages.breakSharing(first + i, frame);
      if (frame < 0) return i === 0 ? -Errno.ENOMEM : i;
      this.memory.pin(frame);
      frames[i] = frame;
    }
    return got;
  }

  /** Whether a pin needs a copy, or a later write would leave it behind (gup_must_unshare). */
  private mustUnshare(frame: number): boolean {
    return this.pinUnshares ? !this.memory.isExclusive(frame) : this.pages.sharesAnonymous(frame);
  }

  /** The frame that the program itself reaches, brought in. */
  private reach(page: number, access: number): number {
    const area = this.areas.find(page);
    return area === null ? FORBIDDEN : this.pages.frameFor(area, page, access, true);
  }

  /** Pages from the first on, of its area, that need not be brought in. */
  private atHand(first: number, count: number, access: number, frames: Float64Array): number {
    const area = this.areas.find(first);
    if (area === null) return 0;
    return this.pages.framesAtHand(area, first, Math.min(count, area.end - first), access, frames);
  }
}
