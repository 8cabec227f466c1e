/**
 * The address space of a live process.
 *
 * Its memory is read and written through the process's page tables at that moment
 * (`remote-memory.ts`): a page that was replaced is never reached through an old translation.
 * Frames are therefore `id * 2^40 + page number`.
 */

import { Errno } from '../../abi/errno.js';
import { HIGH } from '../../abi/long.js';
import { type AddressSpace, type MmuNotifier, PAGE_SIZE, READ, WRITE } from '../address-space.js';
import { tracksDirtyPages } from './file-systems.js';
import { FRAMES_PER_SPACE } from './frames.js';
import { allocateNative, prlimit } from './libc.js';
import { Pagemap, Presence } from './pagemap.js';
import { PinCounts } from './pin-counts.js';
import { Capability, flaggedPages, hasCapability, lockLimitBytes, textOf } from './proc.js';
import { copyFromProcess, copyToProcess, touchPages, writeFault } from './remote-memory.js';
import { mayPagesWait } from './remote-transfer.js';
import { isSameMemory, pinsAt } from './shared-pages.js';
import type { CopyWatcher, ProcessSpaceOptions } from './space-options.js';
import { type Area, VmaCache } from './vmas.js';

/** Spaces of programs that exist at once; frames behind them are memory of the engine itself. */
export const SPACES_MAX = 4096;

/** No architecture's user space is larger: x86-64 with five-level page tables has this. */
const USER_BYTES = 2 ** 56;
const RLIMIT_MEMLOCK = 8;

const rlimit = allocateNative(16);
const rlimitWords = new Uint32Array(rlimit.bytes.buffer, 0, 4);

export class ProcessSpace implements AddressSpace {
  invalidations = 0;
  /**
   * The process is in execve or exiting: its number may mean other memory any moment, so every
   * access must ask `alive`.
   */
  suspect = false;
  /** Whether pages were ever pinned: translations to them may outlive the space. */
  hasPinned = false;
  /** Of the pages pinned last, those that are the shared zero page. */
  private readonly zeroPages = new Set<number>();
  readonly notifiers: MmuNotifier[] = [];
  private readonly vmas: VmaCache;
  private readonly pins: PinCounts | null;
  private openedPagemap: Pagemap | null = null;
  private readonly copyWatcher: CopyWatcher | null;
  readonly taskSize: number;
  /** Pages that VFIO has charged to the locked-memory account. */
  accountedPages = 0;
  /** Pages that iommufds have pinned (VmPin). */
  pinnedPages = 0;

  constructor(
    readonly id: number,
    readonly pid: number,
    private readonly options: ProcessSpaceOptions,
    /** A thread that is alive and has this memory, by which it is reached. */
    public task = pid,
  ) {
    this.taskSize = options.taskSize;
    this.copyWatcher = options.copyWatcher ?? null;
    this.vmas = new VmaCache(`/proc/${task}/maps`, options.deviceFiles);
    this.pins = options.countsPins === true ? new PinCounts() : null;
  }

  copyFrom(address: number, into: Uint8Array): boolean {
    if (!copyFromProcess(this.task, address, into)) return false;
    this.copyWatcher?.copiedFrom(address, into);
    return true;
  }

  copyTo(address: number, from: Uint8Array): boolean {
    if (!copyToProcess(this.task, address, from)) return false;
    this.copyWatcher?.copiedTo(address, from);
    return true;
  }

  pageIn(first: number, count: number, access: number, frames: Float64Array): number {
    const got = this.touch(first, count, access);
    const base = this.id * FRAMES_PER_SPACE + first;
    for (let index = 0; index < got; index++) frames[index] = base + index;
    return got;
  }

  pin(first: number, count: number, access: number, frames: Float64Array): number {
    this.hasPinned = true;
    const able = this.pinnable(first, count, access);
    if ((access & WRITE) !== 0) writeFault(this.task, first, able);
    const got = able === 0 ? 0 : this.pageIn(first, able, access, frames);
    this.zeroPages.clear();
    if (this.options.sharesZeroPage && (access & WRITE) === 0)
      this.findZeroPages(first, first + got);
    if (this.pins !== null)
      for (let page = first; page < first + got; page++) this.pins.add(page, 1);
    return got === 0 ? -Errno.EFAULT : got;
  }

  /**
   * Nothing holds a page of another process from user space; docs/limits.md says what follows from
   * that.
   */
  unpin(frames: Float64Array, count: number): void {
    if (this.pins === null) return;
    for (let index = 0; index < count; index++)
      this.pins.add(frames[index]! - this.id * FRAMES_PER_SPACE, -1);
  }

  pinsAt(frame: number): number {
    return pinsAt(this.options.spaces?.() ?? [this], this, frame - this.id * FRAMES_PER_SPACE);
  }

  isSameMemory(frame: number, other: number): boolean {
    return isSameMemory(this.options.spaces?.() ?? [this], frame, other);
  }

  /** The area of a page as the kernel has it now; null: there is none. */
  areaAt(page: number): Area | null {
    this.vmas.allowed(page, 1, 0);
    return this.vmas.known(page, page + 1)[0] ?? null;
  }

  /** All areas as the kernel has them now. */
  areas(): readonly Area[] {
    return this.vmas.all();
  }

  /** Pins of a page under this number alone. */
  ownPins(page: number): number {
    return this.pins?.of(page) ?? 0;
  }

  isReserved(frame: number): boolean {
    const page = frame - this.id * FRAMES_PER_SPACE;
    return this.zeroPages.has(page) || this.vmas.isDevicePage(page);
  }

  hasDevicePages(first: number, count: number): boolean {
    return this.vmas.hasDevicePages(first, count);
  }

  get lockedPages(): number {
    const match = /^VmLck:\s+(\d+) kB/m.exec(textOf(`/proc/${this.task}/status`));
    return this.accountedPages + (match === null ? 0 : Number(match[1]) / (PAGE_SIZE / 1024));
  }

  get lockLimitPages(): number {
    // Refused where the process has another user by now, and iopf no privilege.
    if (prlimit(this.task, RLIMIT_MEMLOCK, 0, rlimit.address) !== 0)
      return Math.floor(lockLimitBytes(this.task) / PAGE_SIZE);
    const low = rlimitWords[0]!;
    const high = rlimitWords[1]!;
    return high === 0xffffffff
      ? Number.POSITIVE_INFINITY
      : Math.floor((high * HIGH + low) / PAGE_SIZE);
  }

  get ipcLock(): boolean {
    return hasCapability(this.task, Capability.IPC_LOCK);
  }

  accountLocked(pages: number): void {
    this.accountedPages += pages;
  }

  accountPinned(pages: number): void {
    this.pinnedPages += pages;
  }

  /**
   * Whether mlock(2) of these bytes stays within the limit together with what VFIO has charged
   * (kernel: do_mlock). Pages that are locked already are not counted twice. Where VFIO has charged
   * nothing the kernel decides.
   */
  mayLock(address: number, length: number): boolean {
    if (this.accountedPages === 0 || this.ipcLock) return true;
    const first = Math.floor(address / PAGE_SIZE);
    const end = Math.ceil((address + length) / PAGE_SIZE);
    const room = this.lockLimitPages - this.lockedPages;
    if (end - first <= room) return true;
    const locked = this.lockedAreas(first, end);
    return end - first - locked.reduce((sum, area) => sum + area.end - area.first, 0) <= room;
  }

  /** Whether so many bytes more may be locked (kernel: mlock_future_ok); else as `mayLock`. */
  mayLockMore(length: number): boolean {
    if (this.accountedPages === 0 || this.ipcLock) return true;
    return this.lockedPages + Math.ceil(length / PAGE_SIZE) <= this.lockLimitPages;
  }

  /** Whether the process has locked the area that an address lies in. */
  isLocked(address: number): boolean {
    const page = Math.floor(address / PAGE_SIZE);
    return this.lockedAreas(page, page + 1).length > 0;
  }

  private lockedAreas(first: number, end: number): readonly { first: number; end: number }[] {
    return flaggedPages(this.task, first, end, / lo\b/);
  }

  subscribe(notifier: MmuNotifier): () => void {
    this.notifiers.push(notifier);
    return () => {
      const index = this.notifiers.indexOf(notifier);
      if (index >= 0) this.notifiers.splice(index, 1);
    };
  }

  /**
   * The process is about to take away or change the bytes [address, address + length): tells every
   * notifier.
   */
  invalidate(address: number, length: number): void {
    if (!(length > 0) || address + length > USER_BYTES) return; // the kernel will refuse it
    this.invalidations++;
    this.vmas.drop();
    const first = Math.floor(address / PAGE_SIZE);
    const count = Math.ceil((address + length) / PAGE_SIZE) - first;
    for (const notifier of this.notifiers) notifier.invalidate(first, count);
  }

  /** Invalidates what a fork write-protects: the pages of private areas (copy-on-write). */
  invalidateForFork(): void {
    for (const area of this.vmas.all())
      if (area.isPrivate)
        this.invalidate(area.first * PAGE_SIZE, (area.end - area.first) * PAGE_SIZE);
  }

  /** Bytes of a file go, wherever it is mapped. */
  invalidateFile(inode: number, offset: number, length: number): void {
    const begin = Math.floor(offset / PAGE_SIZE);
    const stop = Math.ceil((offset + length) / PAGE_SIZE);
    for (const area of this.vmas.all()) {
      if (area.inode !== inode || area.device !== null) continue;
      const first = area.first + Math.max(0, begin - area.filePage);
      const end = Math.min(area.end, area.first + stop - area.filePage);
      if (first < end) this.invalidate(first * PAGE_SIZE, (end - first) * PAGE_SIZE);
    }
  }

  /** The pages [first, first + count) have left memory without a call of the process. */
  reclaimed(first: number, count: number): void {
    this.invalidations++;
    for (let index = 0; index < this.notifiers.length; index++)
      this.notifiers[index]!.invalidate(first, count, true);
  }

  /** Tells notifiers of the pages in [first, end) that are not in memory. */
  dropAbsent(first: number, end: number): void {
    const { pagemap } = this;
    for (let at = first; at < end; at = pagemap.stopped) {
      pagemap.find(Presence.ABSENT, at, end);
      for (let region = 0; region < pagemap.count; region++)
        this.reclaimed(pagemap.first[region]!, pagemap.end[region]! - pagemap.first[region]!);
    }
  }

  /** What is in memory of the process, by page; it touches none. */
  get pagemap(): Pagemap {
    if (this.openedPagemap === null) {
      this.openedPagemap = new Pagemap(this.task);
      // Opened too late, after an exec: it is another memory's.
      if (!this.alive) this.openedPagemap.close();
    }
    return this.openedPagemap;
  }

  /**
   * The areas whose pages reclaim may take: what the program writes or shares, not its text nor a
   * device's registers.
   */
  evictableAreas(): readonly Area[] {
    return this.vmas
      .all()
      .filter(
        (area) => area.device === null && (!area.isPrivate || (area.permission & WRITE) !== 0),
      );
  }

  /** The first page in [page, end) that is pinned, or that is not; `end` where there is none. */
  nextPinned(isPinned: boolean, page: number, end: number): number {
    if (this.pins === null) return isPinned ? end : page;
    return this.pins.next(isPinned, page, end);
  }

  /** Invalidates every page. */
  invalidateAll(): void {
    this.invalidate(0, USER_BYTES);
  }

  /** brk(2) to `address`: what is there behind it goes. A heap that grows has nothing there. */
  invalidateForBrk(address: number): void {
    const first = Math.ceil(address / PAGE_SIZE);
    const pages = address === 0 ? 0 : this.vmas.allowed(first, USER_BYTES / PAGE_SIZE - first, 0);
    this.invalidate(first * PAGE_SIZE, pages * PAGE_SIZE);
  }

  /** An access failed that a translation promised: whatever is known of protections is old. */
  forgetProtections(): void {
    this.vmas.drop();
  }

  /** Whether this is still the memory of the process: false once it has exec'ed or exited. */
  get alive(): boolean {
    return this.vmas.alive();
  }

  /** The address space ends: exec or exit. */
  end(): void {
    this.invalidations++;
    for (const notifier of this.notifiers.splice(0)) notifier.release();
    this.openedPagemap?.close();
    this.vmas.close();
  }

  /** Has the host bring pages in; returns how many from the first on allow the access. */
  private touch(first: number, count: number, access: number): number {
    if (this.suspect && !this.alive) return 0;
    const allowed = this.allowed(first, count, access === WRITE ? READ | WRITE : access);
    // Where pages may have to be waited for, only the one that is needed is (R4.1).
    const wanted =
      mayPagesWait() && allowed > 1
        ? 1 + this.pagemap.presentFrom(first + 1, allowed - 1)
        : allowed;
    for (let got = 0; ; ) {
      got += touchPages(this.task, first + got, wanted - got);
      // Registers that trap let nobody touch them, but may be mapped for DMA as all of a device.
      const device = got < wanted ? this.vmas.devicePages(first + got, wanted - got) : 0;
      if (device === 0) return got;
      got += device;
    }
  }

  /**
   * How many pages from `first` on can be pinned for an access, as far as that is not found out by
   * touching them: kernels pin no pages for writing whose file system must hear of writes, and ask
   * no userfaultfd handler (pin_user_pages_remote without `locked`).
   */
  private pinnable(first: number, count: number, access: number): number {
    let able = this.allowed(first, count, access);
    if ((access & WRITE) !== 0 && this.options.pinsDirtyFiles !== true) {
      const refused = this.vmas
        .known(first, first + able)
        .find(
          (area) =>
            area.inode !== 0 && !area.isPrivate && area.device === null && this.tracks(area),
        );
      if (refused !== undefined) able = Math.max(0, refused.first - first);
    }
    return mayPagesWait() ? this.untilHandled(first, Math.min(able, count), access) : able;
  }

  /**
   * How many pages from `first` on, at most `count`, allow an access. None lies beyond `taskSize`,
   * where five-level page tables have memory for programs that ask for it: neither frames nor the
   * indexes of mappings reach so far.
   */
  private allowed(first: number, count: number, access: number): number {
    const end = Math.floor(this.taskSize / PAGE_SIZE);
    return this.vmas.allowed(first, Math.max(0, Math.min(count, end - first)), access);
  }

  private tracks({ fileSystem }: Area): boolean {
    return tracksDirtyPages(this.task, fileSystem);
  }

  /** How many pages from `first` on, at most `count`, need no userfaultfd handler. */
  private untilHandled(first: number, count: number, access: number): number {
    const areas = flaggedPages(this.task, first, first + count, / u[miw]\b/);
    for (const area of areas) {
      let stop = area.end;
      if (/ u[mi]\b/.test(area.flags))
        stop = area.first + this.pagemap.presentFrom(area.first, area.end - area.first);
      if ((access & WRITE) !== 0 && / uw\b/.test(area.flags)) {
        this.pagemap.find(Presence.PROTECTED, area.first, stop, 1);
        if (this.pagemap.count > 0) stop = this.pagemap.first[0]!;
      }
      if (stop < area.end) return stop - first;
    }
    return count;
  }

  private findZeroPages(first: number, end: number): void {
    const { pagemap } = this;
    for (let at = first; at < end; at = pagemap.stopped) {
      pagemap.find(Presence.ZERO, at, end);
      for (let region = 0; region < pagemap.count; region++)
        for (let page = pagemap.first[region]!; page < pagemap.end[region]!; page++)
          this.zeroPages.add(page);
    }
  }
}
