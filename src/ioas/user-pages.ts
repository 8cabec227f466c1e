/**
 * Memory of a process that mappings lead to, and what is pinned of it (kernel: struct iopt_pages).
 *
 * Terms: a *holder* is a range that some mapping wants pinned. A page that several hold is pinned
 * and charged once.
 */
import { Bug } from '../abi/bug.js';
import { Errno, VfioError } from '../abi/errno.js';
import { type AddressSpace, READ, WRITE } from '../mm/address-space.js';
import type { LockAccount } from '../mm/lock-account.js';
import { type PinnedRun, PinnedRuns } from './pinned-runs.js';

/** Pages pinned in one call, as the kernel's batch of a page of pointers. */
const BATCH = 512;
const frames = new Float64Array(BATCH);

/** Pages [first, end). */
interface Holder {
  readonly first: number;
  readonly end: number;
}

/** Pages are 4 KiB and count from the first one. */
export class UserPages {
  /** Pages charged to the account, those that device drivers pin included. */
  lockedPages = 0;
  /** Ranges of IOVAs that lead here, where somebody counts. */
  private ranges = 0;
  /** Null: nothing was pinned yet, as it is for memory that faults. */
  private pins: { readonly holders: Holder[]; readonly runs: PinnedRuns } | null = null;

  constructor(
    public mm: AddressSpace,
    /** The first page's number in the process. */
    public vaddrPage: number,
    readonly pages: number,
    /** READ and WRITE: what pages are pinned for. */
    readonly permission: number,
    /** Null: nothing is charged. */
    private account: LockAccount | null,
    /**
     * Pinned as iommufd does (pin_user_pages_fast): what is no ordinary memory (a device's
     * registers) is EFAULT, and a page that may be written may be read, as the processor does it.
     */
    private readonly pinsFast = false,
    /** Its memory is a file's, and no process's. */
    readonly isFile = false,
  ) {}

  /** A range more leads here. */
  hold(): void {
    this.ranges++;
  }

  /** One less; with the last its memory is closed. */
  drop(): void {
    if (--this.ranges === 0) this.mm.close?.();
  }

  /** Who pays. */
  get payer(): LockAccount | null {
    return this.account;
  }

  /** Somebody else pays from now on, and nothing is charged anew. */
  payBy(account: LockAccount | null): void {
    this.account = account;
  }

  /**
   * Pins and charges [first, first + count), but for what others hold, page after page, so that the
   * first that cannot be had decides the errno. Returns how many pages were pinned. EFAULT, ENOMEM;
   * then nothing has changed.
   */
  pin(first: number, count: number): number {
    const end = first + count;
    let total = 0;
    let at = this.nextUnheld(first, end);
    try {
      while (at < end) {
        const got = this.pinBatch(at, Math.min(BATCH, this.heldFrom(at, end) - at));
        total += got;
        at = this.nextUnheld(at + got, end);
      }
    } catch (error) {
      this.unpinUnheld(first, at);
      throw error;
    }
    this.madePins.holders.push({ first, end });
    return total;
  }

  /** Undoes one `pin` of the same range. Returns how many pages nobody else held. */
  unpin(first: number, count: number): number {
    const end = first + count;
    const { holders } = this.madePins;
    const index = holders.findIndex((at) => at.first === first && at.end === end);
    if (index < 0) throw new Bug('pages are not pinned', { first, count });
    holders.splice(index, 1);
    return this.unpinUnheld(first, end);
  }

  /** Whether [first, first + count) is known to be nothing that can be pinned. */
  isUnpinnable(first: number, count: number): boolean {
    return this.pinsFast && this.mm.hasDevicePages?.(this.vaddrPage + first, count) === true;
  }

  /** What is pinned of [first, first + count), in order. */
  pinnedRuns(first: number, count: number): Iterable<PinnedRun> {
    return this.pins === null ? [] : this.pins.runs.within(first, first + count);
  }

  /** 0, or ENOMEM: above the limit, and then nothing is charged. */
  charge(pages: number): number {
    const errno = this.account === null ? 0 : this.account.charge(pages);
    if (errno === 0) this.lockedPages += pages;
    return errno;
  }

  /** `charge` of what was charged a moment ago: the limit is not asked again. */
  chargeAnyway(pages: number): void {
    this.account?.charge(pages, true);
    this.lockedPages += pages;
  }

  uncharge(pages: number): void {
    this.account?.release(pages);
    this.lockedPages -= pages;
  }

  /**
   * Charges what is charged to another account instead. ENOMEM: it has no room; then nothing has
   * changed.
   */
  chargeTo(account: LockAccount | null): void {
    const errno = account === null ? 0 : account.charge(this.lockedPages);
    if (errno !== 0) throw new VfioError(errno);
    this.account?.release(this.lockedPages);
    this.account = account;
  }

  private get madePins(): { readonly holders: Holder[]; readonly runs: PinnedRuns } {
    this.pins ??= { holders: [], runs: new PinnedRuns() };
    return this.pins;
  }

  private pinBatch(first: number, most: number): number {
    const { mm } = this;
    let got = mm.pin(this.vaddrPage + first, most, this.permission, frames);
    if (got === -Errno.EFAULT && this.pinsFast && this.permission === READ)
      got = mm.pin(this.vaddrPage + first, 1, WRITE, frames);
    if (got < 0) throw new VfioError(-got);
    const ordinary = chargeable(mm, frames, got);
    const errno = this.pinsFast && ordinary < got ? Errno.EFAULT : this.charge(ordinary);
    if (errno !== 0) {
      mm.unpin(frames, got);
      throw new VfioError(errno);
    }
    const { runs } = this.madePins;
    for (let i = 0; i < got; i++) runs.add(first + i, frames[i]!, isCharged(mm, frames[i]!));
    return got;
  }

  /** Drops the pins of what nobody holds of [first, end). */
  private unpinUnheld(first: number, end: number): number {
    let total = 0;
    for (let at = this.nextUnheld(first, end); at < end; ) {
      const stop = this.heldFrom(at, end);
      for (const run of this.pinnedRuns(at, stop - at)) this.unpinRun(run);
      this.madePins.runs.remove(at, stop);
      total += stop - at;
      at = this.nextUnheld(stop, end);
    }
    return total;
  }

  private unpinRun({ frame, count, charged }: PinnedRun): void {
    for (let done = 0; done < count; done += BATCH) {
      const now = Math.min(BATCH, count - done);
      for (let i = 0; i < now; i++) frames[i] = frame + done + i;
      this.mm.unpin(frames, now);
    }
    if (charged) this.uncharge(count);
  }

  /** The first page at or after `page` that nobody holds, at most `end`. */
  private nextUnheld(page: number, end: number): number {
    let at = page;
    for (let moved = true; moved && at < end; ) {
      moved = false;
      for (const holder of this.madePins.holders)
        if (holder.first <= at && at < holder.end) {
          at = holder.end;
          moved = true;
        }
    }
    return Math.min(at, end);
  }

  /** The first page behind `page`, which nobody holds, that somebody holds, at most `end`. */
  private heldFrom(page: number, end: number): number {
    let at = end;
    for (const holder of this.madePins.holders)
      if (holder.first > page && holder.first < at) at = holder.first;
    return at;
  }
}

/** Whether a frame counts against the limit: one of ordinary memory does. */
export function isCharged(mm: AddressSpace, frame: number): boolean {
  return mm.isReserved === undefined || !mm.isReserved(frame);
}

function chargeable(mm: AddressSpace, frames: Float64Array, count: number): number {
  if (mm.isReserved === undefined) return count;
  let ordinary = 0;
  for (let i = 0; i < count; i++) if (!mm.isReserved(frames[i]!)) ordinary++;
  return ordinary;
}
