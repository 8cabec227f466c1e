/**
 * A simulated process's memory, deterministic: mappings of every kind that VFIO meets,
 * copy-on-write, reclaim to swap, locked pages. It tells its notifiers before a page goes (R3.1),
 * and does what it announced before anyone else can act.
 */
import { Errno } from '../abi/errno.js';
import { type Flow, freshStep, type Wait } from '../flow/flow.js';
import { removeAt } from '../flow/list.js';
import {
  type AddressSpace,
  type MmuNotifier,
  PAGE_SIZE,
  READ,
  WRITE,
  X86_64_TASK_SIZE,
} from './address-space.js';
import { Areas } from './areas.js';
import { SimulatedFile } from './simulated-file.js';
import type { SimulatedMemory } from './simulated-memory.js';
import { FORBIDDEN, NO_MEMORY, SimulatedPages, WAITS } from './simulated-pages.js';

/** Kinds of memory, as the vectors name them. */
export type MemoryKind =
  | 'anon'
  | 'devzero'
  | 'norsv'
  | 'hugetlb'
  | 'shared'
  | 'memfd'
  | 'memfdPrivate'
  | 'tmpfsFile';

export interface MmapOptions {
  readonly kind: MemoryKind;
  /** READ and WRITE; 0: none. */
  readonly protection: number;
  /**
   * The file behind memfd, memfdPrivate and tmpfsFile; made with the size of the mapping where it
   * is not given.
   */
  readonly file?: SimulatedFile;
  /** First page of the file. */
  readonly offset?: number;
}

export interface SimulatedSpaceOptions {
  readonly id?: number;
  readonly lockLimitPages?: number;
  readonly ipcLock?: boolean;
  /** A page in swap must be waited for: `pageIn` answers -1. */
  readonly swapInWaits?: boolean;
}

const SWAP_IN: Wait = { what: 'swap-in', always: true, ready: () => true };
const WINDOW = freshStep('invalidation begun, pages still there');

/**
 * Pages whose invalidation has begun and is not over (kernel: between invalidate_range_start and
 * _end).
 */
interface OpenInvalidation {
  readonly first: number;
  readonly end: number;
}

export class SimulatedSpace implements AddressSpace {
  readonly id: number;
  lockedPages = 0;
  lockLimitPages: number;
  ipcLock: boolean;
  invalidations = 0;

  private readonly areas = new Areas();
  private readonly pages: SimulatedPages;
  private readonly notifiers: MmuNotifier[] = [];
  private readonly open: OpenInvalidation[] = [];
  private readonly swapInWaits: boolean;
  private readonly removeReclaim: () => void;
  /** Where reclaim goes on. */
  private hand = 0;

  constructor(
    readonly memory: SimulatedMemory,
    options: SimulatedSpaceOptions = {},
  ) {
    this.id = options.id ?? 0;
    this.lockLimitPages = options.lockLimitPages ?? Number.POSITIVE_INFINITY;
    this.ipcLock = options.ipcLock ?? true;
    this.swapInWaits = options.swapInWaits ?? false;
    this.pages = new SimulatedPages(memory, (first, count) => this.notify(first, count));
    this.removeReclaim = memory.addReclaim(() => this.reclaim(1) === 1);
  }

  get taskSize(): number {
    return X86_64_TASK_SIZE;
  }

  /** Pages present in the page table. */
  get presentPages(): number {
    return this.pages.table.present;
  }

  /** Notifiers subscribed. */
  get notifierCount(): number {
    return this.notifiers.length;
  }

  /** The frame that a page has now, without bringing it in; -1 where it is not present. */
  frameAt(page: number): number {
    return this.pages.table.lookup(page, 0);
  }

  /**
   * What decides how a page is brought in, as one number: frame, bits, protection, swap,
   * invalidations that are open.
   */
  stateAt(page: number): number {
    const protection = this.areas.find(page)?.protection ?? 4;
    return (this.pages.stateAt(page) * 8 + protection) * 16 + this.invalidationsOf(page);
  }

  /** The page at which reclaim goes on. */
  get reclaimsFrom(): number {
    return this.hand;
  }

  /** What the process may do with a page: READ and WRITE; 0 also where nothing is mapped. */
  protectionAt(page: number): number {
    return this.areas.find(page)?.protection ?? 0;
  }

  /** The file behind a page, or null. */
  fileAt(page: number): SimulatedFile | null {
    return this.areas.find(page)?.file ?? null;
  }

  /** mmap(2) with MAP_FIXED: what was there goes first. */
  mmap(first: number, count: number, options: MmapOptions): void {
    this.munmap(first, count);
    const { kind, protection } = options;
    const anonymous =
      kind === 'anon' || kind === 'devzero' || kind === 'norsv' || kind === 'hugetlb';
    const offset = options.offset ?? 0;
    const file = anonymous
      ? null
      : (options.file ?? new SimulatedFile(this.memory, offset + count, kind === 'shared'));
    this.areas.insert({
      first,
      end: first + count,
      protection,
      shared: !anonymous && kind !== 'memfdPrivate',
      file,
      offset,
      huge: kind === 'hugetlb',
      locked: false,
    });
    file?.spaces.add(this);
  }

  /** munmap(2). */
  munmap(first: number, count: number): void {
    this.notify(first, count);
    this.unmapAnnounced(first, count);
  }

  /**
   * `munmap` with its window: between telling the notifiers and taking the pages away other paths
   * may run.
   */
  munmapFlow(first: number, count: number): Flow<void> {
    return this.announce(first, count, () => this.unmapAnnounced(first, count));
  }

  /** `dontNeed` of mapped, unlocked pages with its window. */
  dontNeedFlow(first: number, count: number): Flow<void> {
    return this.announce(first, count, () => this.pages.drop(first, count));
  }

  /** `migrate` with its window. */
  migrateFlow(first: number, count: number): Flow<void> {
    return this.announce(first, count, () => this.pages.migrate(first, count));
  }

  /** `mprotect` of mapped pages with its window. */
  mprotectFlow(first: number, count: number, protection: number): Flow<void> {
    return this.announce(first, count, () => {
      for (const area of this.areas.within(first, first + count)) area.protection = protection;
    });
  }

  /**
   * Whether an invalidation of a page has begun and is not over: nobody may have a translation to
   * it.
   */
  isInvalidating(page: number): boolean {
    return this.invalidationsOf(page) !== 0;
  }

  private invalidationsOf(page: number): number {
    let count = 0;
    for (const { first, end } of this.open) if (page >= first && page < end) count++;
    return count;
  }

  private *announce(first: number, count: number, change: () => void): Flow<void> {
    this.notify(first, count);
    const window = { first, end: first + count };
    this.open.push(window);
    try {
      yield WINDOW;
      change();
    } finally {
      removeAt(this.open, this.open.indexOf(window));
    }
  }

  private unmapAnnounced(first: number, count: number): void {
    const removed = this.areas.remove(first, first + count);
    this.pages.drop(first, count);
    for (const { locked, first: start, end, file } of removed) {
      if (locked) this.lockedPages -= end - start;
      if (file !== null && !this.areas.list.some((area) => area.file === file)) file.unmapped(this);
    }
  }

  /** mprotect(2): ENOMEM where a page is not mapped, else 0. */
  mprotect(first: number, count: number, protection: number): number {
    if (!this.areas.covers(first, first + count)) return Errno.ENOMEM;
    this.notify(first, count);
    for (const area of this.areas.within(first, first + count)) area.protection = protection;
    return 0;
  }

  /**
   * madvise(MADV_DONTNEED): EINVAL on locked, ENOMEM on unmapped pages, else 0. Private memory is
   * lost, a file's is not.
   */
  dontNeed(first: number, count: number): number {
    const end = first + count;
    if (!this.areas.covers(first, end)) return Errno.ENOMEM;
    if (this.lockedIn(first, end) !== 0) return Errno.EINVAL;
    this.notify(first, count);
    this.pages.drop(first, count);
    return 0;
  }

  /** madvise(MADV_PAGEOUT): pages that can go to swap go there. */
  pageOut(first: number, count: number): void {
    const end = first + count;
    const table = this.pages.table;
    for (let at = table.nextPresent(first, end); at < end; at = table.nextPresent(at + 1, end)) {
      this.pages.swapOut(this.areas.find(at)!, at);
    }
  }

  /**
   * mremap(2): moves to `to` where given (MREMAP_FIXED), else shrinks or grows in place. Returns 0
   * or the errno: EFAULT (nothing there), ENOMEM (no room to grow).
   */
  mremap(first: number, oldCount: number, newCount: number, to: number | null = null): number {
    if (!this.areas.covers(first, first + oldCount)) return Errno.EFAULT;
    if (newCount < oldCount) this.munmap(first + newCount, oldCount - newCount);
    const kept = Math.min(oldCount, newCount);
    if (to !== null) this.move(first, kept, to);
    const start = to ?? first;
    if (newCount > oldCount) {
      const tail = start + oldCount;
      const next = this.areas.list[this.areas.indexFrom(tail)];
      if (next !== undefined && next.first < start + newCount) return Errno.ENOMEM;
      const area = this.areas.find(tail - 1)!;
      if (area.locked) this.lockedPages += newCount - oldCount;
      area.end = start + newCount;
    }
    return 0;
  }

  /** mlock(2): 0, ENOMEM (a gap, or above the limit) or EPERM (the limit is 0). */
  mlock(first: number, count: number): number {
    const end = first + count;
    if (!this.ipcLock && this.lockLimitPages === 0) return Errno.EPERM;
    const locked = this.lockedIn(first, end);
    if (!this.ipcLock && this.lockedPages + count - locked > this.lockLimitPages)
      return Errno.ENOMEM;
    const covered = this.areas.covers(first, end);
    for (const area of this.areas.within(first, end)) {
      if (!area.locked) this.lockedPages += area.end - area.first;
      area.locked = true;
      const access =
        (area.protection & WRITE) !== 0 && !area.shared ? WRITE : area.protection & READ;
      if (access !== 0)
        for (let at = area.first; at < area.end; at++) this.pages.frameFor(area, at, access, true);
    }
    return covered ? 0 : Errno.ENOMEM;
  }

  munlock(first: number, count: number): number {
    const covered = this.areas.covers(first, first + count);
    for (const area of this.areas.within(first, first + count)) {
      if (area.locked) this.lockedPages -= area.end - area.first;
      area.locked = false;
    }
    return covered ? 0 : Errno.ENOMEM;
  }

  /**
   * fork(2): private pages are shared until one side writes; pinned ones are copied for the child
   * at once.
   */
  fork(id: number): SimulatedSpace {
    const child = new SimulatedSpace(this.memory, {
      id,
      lockLimitPages: this.lockLimitPages,
      ipcLock: this.ipcLock,
      swapInWaits: this.swapInWaits,
    });
    for (const area of this.areas.list) {
      if (!area.shared) this.notify(area.first, area.end - area.first);
      child.areas.insert({ ...area, locked: false });
      area.file?.spaces.add(child);
      this.pages.shareWith(child.pages, area);
    }
    return child;
  }

  /** The process ends: notifiers are told and gone, and all memory is given back. */
  exit(): void {
    this.invalidations++;
    for (const notifier of this.notifiers.splice(0)) notifier.release();
    this.munmap(0, 2 ** 36);
    this.removeReclaim();
  }

  /**
   * Takes up to `count` pages away and keeps their bytes in swap. Returns how many went; pinned,
   * locked and shared ones stay.
   */
  reclaim(count: number): number {
    let reclaimed = 0;
    const end = 2 ** 36;
    for (let seen = this.pages.table.present; seen > 0 && reclaimed < count; seen--) {
      let page = this.pages.table.nextPresent(this.hand, end);
      if (page === end) page = this.pages.table.nextPresent(0, end);
      if (page === end) break;
      this.hand = page + 1;
      if (this.pages.swapOut(this.areas.find(page)!, page)) reclaimed++;
    }
    return reclaimed;
  }

  /**
   * The host takes these pages away whatever they are, as migration does: each comes back in
   * another frame.
   */
  migrate(first: number, count: number): void {
    this.notify(first, count);
    this.pages.migrate(first, count);
  }

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

  /**
   * Bytes of a page as they are in its frame or in swap, without bringing it in; `into` stays as it
   * is where there is neither.
   */
  peek(page: number, offset: number, into: Uint8Array): void {
    this.pages.peek(page, offset, into);
  }

  /** The program sets every byte of whole pages; false where one cannot be written. */
  fillPages(first: number, count: number, byte: number): boolean {
    for (let page = first; page < first + count; page++) {
      const frame = this.reach(page, WRITE);
      if (frame < 0) return false;
      this.memory.setAll(frame, byte);
    }
    return true;
  }

  pageIn(first: number, count: number, access: number, frames: Float64Array): number {
    const got = this.bringIn(first, count, access, frames, !this.swapInWaits);
    if (got >= 0) return got;
    return got === WAITS ? -1 : 0;
  }

  *pageInFlow(first: number, count: number, access: number, frames: Float64Array): Flow<number> {
    yield this.isInvalidating(first) ? this.endOf(first) : SWAP_IN;
    for (;;) {
      const got = this.bringIn(first, count, access, frames, true);
      if (got !== WAITS) return Math.max(0, got);
      yield this.endOf(first);
    }
  }

  private endOf(page: number): Wait {
    return {
      what: `end of the invalidation of page ${page}`,
      ready: () => !this.isInvalidating(page),
    };
  }

  pin(first: number, count: number, access: number, frames: Float64Array): number {
    const got = this.bringIn(first, count, access, frames, true, false);
    if (got < 0) return got === NO_MEMORY ? -Errno.ENOMEM : -Errno.EFAULT;
    for (let i = 0; i < got; i++) {
      const area = this.areas.find(first + i)!;
      // Bringing a later page in may have reclaimed an earlier one; pinned as we go, it stays.
      let frame = this.pages.frameFor(area, first + i, access, true);
      if (frame >= 0 && !area.shared && this.pages.sharesAnonymous(frame))
        frame = this.pages.breakSharing(first + i, frame);
      if (frame < 0) return i === 0 ? -Errno.ENOMEM : i;
      this.memory.pin(frame);
      frames[i] = frame;
    }
    return got;
  }

  unpin(frames: Float64Array, count: number): void {
    for (let i = 0; i < count; i++) this.memory.unpin(frames[i]!);
  }

  accountLocked(pages: number): void {
    this.lockedPages += pages;
  }

  subscribe(notifier: MmuNotifier): () => void {
    this.notifiers.push(notifier);
    return () => {
      const index = this.notifiers.indexOf(notifier);
      if (index >= 0) removeAt(this.notifiers, index);
    };
  }

  /** A file gets shorter: its pages behind the new end go, private copies of them too. */
  fileTruncated(file: SimulatedFile, size: number): void {
    for (const area of this.areas.list) {
      if (area.file !== file) continue;
      const first = Math.max(area.first, area.first + size - area.offset);
      if (first >= area.end) continue;
      this.notify(first, area.end - first);
      this.pages.drop(first, area.end - first);
    }
  }

  protected notify(first: number, count: number): void {
    this.invalidations++;
    for (let i = 0; i < this.notifiers.length; i++) this.notifiers[i]!.invalidate(first, count);
  }

  /** The frame that the program itself reaches, brought in. */
  private reach(page: number, access: number): number {
    const area = this.areas.find(page);
    return area === null ? FORBIDDEN : this.pages.frameFor(area, page, access, true);
  }

  protected bringIn(
    first: number,
    count: number,
    access: number,
    frames: Float64Array,
    mayWait: boolean,
    /** A pin is a reference to what is there; only translations keep out of an invalidation. */
    keepsOut = true,
  ): number {
    const end = first + count;
    const mayHold = keepsOut && this.open.length !== 0;
    let at = count > 1 && !mayHold ? first + this.atHand(first, count, access, frames) : first;
    while (at < end) {
      const area = this.areas.find(at);
      const stop = area === null ? at : Math.min(end, area.end);
      let frame = FORBIDDEN;
      for (; at < stop; at++) {
        const held = mayHold && this.isInvalidating(at);
        frame = held ? WAITS : this.pages.frameFor(area!, at, access, mayWait);
        if (frame < 0) break;
        frames[at - first] = frame;
      }
      if (frame < 0) return at === first ? frame : at - first;
    }
    return count;
  }

  /** Pages from the first on, of its area, that need not be brought in. */
  private atHand(first: number, count: number, access: number, frames: Float64Array): number {
    const area = this.areas.find(first);
    if (area === null) return 0;
    return this.pages.framesAtHand(area, first, Math.min(count, area.end - first), access, frames);
  }

  /** Moves pages with their areas; what was at the target goes. */
  private move(first: number, count: number, to: number): void {
    this.munmap(to, count);
    this.notify(first, count);
    for (const area of this.areas.remove(first, first + count)) {
      area.end = area.end - first + to;
      area.first = area.first - first + to;
      this.areas.insert(area);
    }
    this.pages.move(first, count, to);
  }

  private lockedIn(first: number, end: number): number {
    let pages = 0;
    for (let index = this.areas.indexFrom(first); index < this.areas.list.length; index++) {
      const area = this.areas.list[index]!;
      if (area.first >= end) break;
      if (area.locked) pages += Math.min(end, area.end) - Math.max(first, area.first);
    }
    return pages;
  }
}
