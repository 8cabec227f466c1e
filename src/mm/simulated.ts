/**
 * A simulated process's memory, deterministic: mappings of every kind that VFIO meets,
 * copy-on-write, reclaim to swap, locked pages. It tells its notifiers before a page goes (R3.1),
 * and does what it announced before anyone else can act.
 */
import { Errno } from '../abi/errno.js';
import type { Flow, Wait } from '../flow/flow.js';
import {
  type AddressSpace,
  type MmuNotifier,
  READ,
  WRITE,
  X86_64_TASK_SIZE,
} from './address-space.js';
import { Areas } from './areas.js';
import { ANONYMOUS, type MemoryKind } from './memory-kind.js';
import { PAGE_NUMBER_LIMIT } from './page-table.js';
import { SimulatedAccess } from './simulated-access.js';
import { SimulatedAdvice } from './simulated-advice.js';
import { SimulatedFile } from './simulated-file.js';
import type { SimulatedMemory } from './simulated-memory.js';
import { SimulatedNotifiers } from './simulated-notifiers.js';
import { SimulatedPages, WAITS } from './simulated-pages.js';

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
  /**
   * A pin for reading, too, makes a page of private memory the process's own, as since Linux 6.2;
   * else it takes the shared zero page, or the file's.
   */
  readonly pinUnshares?: boolean;
}

const SWAP_IN: Wait = { what: 'swap-in', always: true, ready: () => true };

export class SimulatedSpace implements AddressSpace {
  readonly id: number;
  lockedPages = 0;
  lockLimitPages: number;
  ipcLock: boolean;

  /** Less common calls on mapped memory. */
  readonly advice: SimulatedAdvice;
  private readonly areas = new Areas();
  private readonly notifiers = new SimulatedNotifiers();
  private readonly pages: SimulatedPages;
  private readonly access: SimulatedAccess;
  private readonly swapInWaits: boolean;
  private readonly pinUnshares: boolean;
  private readonly removeReclaim: () => void;

  constructor(
    readonly memory: SimulatedMemory,
    options: SimulatedSpaceOptions = {},
  ) {
    this.id = options.id ?? 0;
    this.lockLimitPages = options.lockLimitPages ?? Number.POSITIVE_INFINITY;
    this.ipcLock = options.ipcLock ?? true;
    this.swapInWaits = options.swapInWaits ?? false;
    this.pinUnshares = options.pinUnshares ?? false;
    const { areas, notifiers } = this;
    this.pages = new SimulatedPages(memory, (first, count) => notifiers.tell(first, count));
    this.advice = new SimulatedAdvice(areas, this.pages, notifiers);
    this.access = new SimulatedAccess(memory, areas, this.pages, notifiers, this.pinUnshares);
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
    return this.notifiers.size;
  }

  get invalidations(): number {
    return this.notifiers.count;
  }

  /** The frame that a page has now, without bringing it in; -1 where it is not present. */
  frameAt(page: number): number {
    return this.pages.table.lookup(page, 0);
  }

  /** READ: present, WRITE: may be written where it is; whatever its area allows. */
  bitsAt(page: number): number {
    return this.pages.table.bits(page);
  }

  isSwapped(page: number): boolean {
    return this.pages.isSwapped(page);
  }

  isMapped(page: number): boolean {
    return this.areas.find(page) !== null;
  }

  /** The page at which reclaim goes on. */
  get reclaimsFrom(): number {
    return this.pages.hand;
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
    const anonymous = ANONYMOUS.has(kind);
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
      onFork: 'copy',
    });
    file?.mappers.add(this.advice);
  }

  /** munmap(2). */
  munmap(first: number, count: number): void {
    this.notifiers.tell(first, count);
    this.unmapAnnounced(first, count);
  }

  /**
   * `munmap` with its window: between telling the notifiers and taking the pages away other paths
   * may run.
   */
  munmapFlow(first: number, count: number): Flow<void> {
    return this.notifiers.announce(first, count, () => this.unmapAnnounced(first, count));
  }

  /** `dontNeed` of mapped, unlocked pages with its window. */
  dontNeedFlow(first: number, count: number): Flow<void> {
    return this.notifiers.announce(first, count, () => this.pages.drop(first, count));
  }

  /** `migrate` with its window. */
  migrateFlow(first: number, count: number): Flow<void> {
    return this.notifiers.announce(first, count, () => this.pages.migrate(first, count));
  }

  /** `mprotect` of mapped pages with its window. */
  mprotectFlow(first: number, count: number, protection: number): Flow<void> {
    return this.notifiers.announce(first, count, () => {
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

  /** Invalidations of a page that have begun and are not over. */
  invalidationsOf(page: number): number {
    return this.notifiers.openAt(page);
  }

  private unmapAnnounced(first: number, count: number): void {
    const removed = this.areas.remove(first, first + count);
    this.pages.drop(first, count);
    for (const { locked, first: start, end, file } of removed) {
      if (locked) this.lockedPages -= end - start;
      if (file !== null && !this.areas.list.some((area) => area.file === file))
        file.unmapped(this.advice);
    }
  }

  /** mprotect(2): ENOMEM where a page is not mapped, else 0. */
  mprotect(first: number, count: number, protection: number): number {
    if (!this.areas.covers(first, first + count)) return Errno.ENOMEM;
    this.notifiers.tell(first, count);
    for (const area of this.areas.within(first, first + count)) area.protection = protection;
    return 0;
  }

  /** See `SimulatedAdvice`. */
  dontNeed(first: number, count: number): number {
    return this.advice.dontNeed(first, count);
  }

  /** madvise(MADV_PAGEOUT): pages that can go to swap go there. */
  pageOut(first: number, count: number): void {
    this.pages.pageOut(this.areas, first, first + count);
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
    const locked = this.areas.lockedIn(first, end);
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
      pinUnshares: this.pinUnshares,
    });
    for (const area of this.areas.list) {
      if (area.onFork === 'leave') continue;
      if (area.onFork === 'wipe') {
        child.areas.insert({ ...area, locked: false });
        continue;
      }
      if (!area.shared) this.notifiers.tell(area.first, area.end - area.first);
      child.areas.insert({ ...area, locked: false });
      area.file?.mappers.add(child.advice);
      this.pages.shareWith(child.pages, area);
    }
    return child;
  }

  /** The process ends: notifiers are told and gone, and all memory is given back. */
  exit(): void {
    this.notifiers.release();
    this.munmap(0, PAGE_NUMBER_LIMIT);
    this.removeReclaim();
  }

  /** See `SimulatedPages.reclaim`. */
  reclaim(count: number): number {
    return this.pages.reclaim(this.areas, count);
  }

  /**
   * The host takes these pages away whatever they are, as migration does: each comes back in
   * another frame.
   */
  migrate(first: number, count: number): void {
    this.notifiers.tell(first, count);
    this.pages.migrate(first, count);
  }

  copyFrom(address: number, into: Uint8Array): boolean {
    return this.access.copyFrom(address, into);
  }

  copyTo(address: number, from: Uint8Array): boolean {
    return this.access.copyTo(address, from);
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
    return this.access.fill(first, count, byte);
  }

  pageIn(first: number, count: number, access: number, frames: Float64Array): number {
    const got = this.access.bringIn(first, count, access, frames, !this.swapInWaits, true);
    if (got >= 0) return got;
    return got === WAITS ? -1 : 0;
  }

  *pageInFlow(first: number, count: number, access: number, frames: Float64Array): Flow<number> {
    yield this.isInvalidating(first) ? this.endOf(first) : SWAP_IN;
    for (;;) {
      const got = this.access.bringIn(first, count, access, frames, true, true);
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
    return this.access.pin(first, count, access, frames);
  }

  unpin(frames: Float64Array, count: number): void {
    for (let i = 0; i < count; i++) this.memory.unpin(frames[i]!);
  }

  pinsAt(frame: number): number {
    return this.memory.pinsOf(frame);
  }

  accountLocked(pages: number): void {
    this.lockedPages += pages;
  }

  subscribe(notifier: MmuNotifier): () => void {
    return this.notifiers.subscribe(notifier);
  }

  /** Moves pages with their areas; what was at the target goes. */
  private move(first: number, count: number, to: number): void {
    this.munmap(to, count);
    this.notifiers.tell(first, count);
    this.areas.move(first, count, to);
    this.pages.move(first, count, to);
  }
}
