/**
 * The address space of a live process.
 *
 * Its memory is read and written through the process's page tables at that moment
 * (`remote-memory.ts`): a page that was replaced is never reached through an old translation.
 * Frames are therefore `id * 2^40 + page number`.
 */
import { readFileSync } from 'node:fs';
import { Errno } from '../../abi/errno.js';
import {
  type AddressSpace,
  type MmuNotifier,
  PAGE_SIZE,
  READ,
  WRITE,
  X86_64_TASK_SIZE,
} from '../address-space.js';
import { allocateNative, prlimit } from './libc.js';
import { Pagemap, Presence } from './pagemap.js';
import { PinCounts } from './pin-counts.js';
import { copyFromProcess, copyToProcess, touchPages, writeFault } from './remote-memory.js';
import { type Area, VmaCache } from './vmas.js';

/** Pages per space in the frame numbers: 2^40 pages are the 52 bits of a 5-level address. */
export const FRAMES_PER_SPACE = 2 ** 40;

/** Spaces of programs that exist at once; frames behind them are memory of the engine itself. */
export const SPACES_MAX = 4096;

/** User space with five-level page tables. */
const USER_BYTES = 2 ** 56;
const RLIMIT_MEMLOCK = 8;
const CAP_IPC_LOCK = 14;
const HIGH = 2 ** 32;

const rlimit = allocateNative(16);
const rlimitWords = new Uint32Array(rlimit.bytes.buffer, 0, 4);

/**
 * Told what calls copy out of and into a process. Called on hot paths: keeps what it needs at once.
 */
export interface CopyWatcher {
  copiedFrom(address: number, bytes: Uint8Array): void;
  copiedTo(address: number, bytes: Uint8Array): void;
}

export interface ProcessSpaceOptions {
  /** The files behind devices, by `fileKey`: their pages are no ordinary memory. */
  readonly deviceFiles: ReadonlySet<string>;
  /**
   * Pinning a page that was never written takes the shared zero page, as kernels did before 6.2.
   */
  readonly sharesZeroPage: boolean;
  /** Somebody asks for `nextEvictable`: pins are remembered by page. */
  readonly countsPins?: boolean;
  readonly copyWatcher?: CopyWatcher | null;
  /** As `AddressSpace.taskSize`; without it x86-64's. */
  readonly taskSize?: number;
}

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
  /** Pages in our own part of the locked-memory account. */
  accountedPages = 0;

  constructor(
    readonly id: number,
    readonly pid: number,
    private readonly options: ProcessSpaceOptions,
  ) {
    this.taskSize = options.taskSize ?? X86_64_TASK_SIZE;
    this.copyWatcher = options.copyWatcher ?? null;
    this.vmas = new VmaCache(`/proc/${pid}/maps`, options.deviceFiles);
    this.pins = options.countsPins === true ? new PinCounts() : null;
  }

  copyFrom(address: number, into: Uint8Array): boolean {
    if (!copyFromProcess(this.pid, address, into)) return false;
    this.copyWatcher?.copiedFrom(address, into);
    return true;
  }

  copyTo(address: number, from: Uint8Array): boolean {
    if (!copyToProcess(this.pid, address, from)) return false;
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
    if ((access & WRITE) !== 0) writeFault(this.pid, first, this.vmas.allowed(first, count, WRITE));
    const got = this.pageIn(first, count, access, frames);
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

  isReserved(frame: number): boolean {
    const page = frame - this.id * FRAMES_PER_SPACE;
    return this.zeroPages.has(page) || this.vmas.isDevicePage(page);
  }

  get lockedPages(): number {
    const match = /^VmLck:\s+(\d+) kB/m.exec(textOf(`/proc/${this.pid}/status`));
    return this.accountedPages + (match === null ? 0 : Number(match[1]) / (PAGE_SIZE / 1024));
  }

  get lockLimitPages(): number {
    if (prlimit(this.pid, RLIMIT_MEMLOCK, 0, rlimit.address) !== 0) return 0;
    const low = rlimitWords[0]!;
    const high = rlimitWords[1]!;
    return high === 0xffffffff
      ? Number.POSITIVE_INFINITY
      : Math.floor((high * HIGH + low) / PAGE_SIZE);
  }

  get ipcLock(): boolean {
    const match = /^CapEff:\s+([0-9a-f]+)/m.exec(textOf(`/proc/${this.pid}/status`));
    return (
      match !== null && ((Number.parseInt(match[1]!.slice(-8), 16) >>> CAP_IPC_LOCK) & 1) === 1
    );
  }

  accountLocked(pages: number): void {
    this.accountedPages += pages;
  }

  /**
   * Whether mlock(2) of these bytes stays within the limit together with our account (kernel:
   * do_mlock). Pages that are locked already are not counted twice. Where we account nothing the
   * kernel decides.
   */
  mayLock(address: number, length: number): boolean {
    if (this.accountedPages === 0 || this.ipcLock) return true;
    const first = Math.floor(address / PAGE_SIZE);
    const end = Math.ceil((address + length) / PAGE_SIZE);
    const room = this.lockLimitPages - this.lockedPages;
    return end - first <= room || end - first - lockedWithin(this.pid, first, end) <= room;
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
      this.openedPagemap = new Pagemap(this.pid);
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
      .filter((area) => !area.isDevice && (!area.isPrivate || (area.permission & WRITE) !== 0));
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
    const allowed = this.vmas.allowed(first, count, access === WRITE ? READ | WRITE : access);
    for (let got = 0; ; ) {
      got += touchPages(this.pid, first + got, allowed - got);
      // Registers that trap let nobody touch them, but may be mapped for DMA as all of a device.
      const device = got < allowed ? this.vmas.devicePages(first + got, allowed - got) : 0;
      if (device === 0) return got;
      got += device;
    }
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

/**
 * How many of the pages [first, end) are in areas that the process has locked itself (`lo` of
 * VmFlags in smaps).
 */
function lockedWithin(pid: number, first: number, end: number): number {
  let locked = 0;
  let overlap = 0;
  for (const line of textOf(`/proc/${pid}/smaps`).split('\n')) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line);
    if (range !== null) {
      const [from, to] = [range[1]!, range[2]!].map(
        (hex) => Number.parseInt(hex, 16) / PAGE_SIZE,
      ) as [number, number];
      overlap = Math.max(0, Math.min(to, end) - Math.max(from, first));
    } else if (/^VmFlags:.* lo\b/.test(line)) locked += overlap;
  }
  return locked;
}

/** A file of /proc; empty where the process is gone, or lets nobody look (it is not dumpable). */
export function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
