/**
 * Files that are memory (memfd, tmpfs, hugetlbfs) as memory of nobody's: this process maps them, so
 * that devices reach them whoever of the program is there.
 */

import { fstatSync, statfsSync } from 'node:fs';
import { Errno } from '../../abi/errno.js';
import {
  MAP_NORESERVE,
  MAP_SHARED,
  O_CLOEXEC,
  O_RDWR,
  PROT_READ,
  PROT_WRITE,
} from '../../abi/linux.js';
import { type AddressSpace, type MmuNotifier, PAGE_SIZE } from '../address-space.js';
import { close, mmap, munmap, open } from './libc.js';
import type { ProcessSpace } from './space.js';

const TMPFS = 0x0102_1994;
const HUGETLBFS = 0x9584_58f6;

/** Makes the space by which this process's own pages have frames, and ends it. */
export interface OwnSpaces {
  take(): ProcessSpace | null;
  giveBack(space: ProcessSpace): void;
}

export class FileMemory implements AddressSpace {
  readonly invalidations = 0;
  readonly lockedPages = 0;
  readonly lockLimitPages = Number.POSITIVE_INFINITY;
  readonly ipcLock = true;
  readonly taskSize = Number.MAX_SAFE_INTEGER;
  /** Where the file is mapped, in pages; it was so long then. */
  private base = 0;
  private mappedPages = 0;
  private pins = 0;

  private constructor(
    readonly fd: number,
    private readonly own: ProcessSpace,
    private readonly spaces: OwnSpaces,
  ) {}

  /** The file at a path of /proc; null: it is no memory, or cannot be opened for writing. */
  static open(path: string, spaces: OwnSpaces): FileMemory | null {
    if (!isMemory(path)) return null;
    const fd = open(path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) return null;
    const own = spaces.take();
    if (own !== null) return new FileMemory(fd, own, spaces);
    close(fd);
    return null;
  }

  get id(): number {
    return this.own.id;
  }

  copyFrom(address: number, into: Uint8Array): boolean {
    return this.map() && this.own.copyFrom(this.base * PAGE_SIZE + address, into);
  }

  copyTo(address: number, from: Uint8Array): boolean {
    return this.map() && this.own.copyTo(this.base * PAGE_SIZE + address, from);
  }

  pageIn(first: number, count: number, access: number, frames: Float64Array): number {
    const there = this.map() ? Math.min(count, this.mappedPages - first) : 0;
    return there <= 0 ? 0 : this.own.pageIn(this.base + first, there, access, frames);
  }

  /** EINVAL: the first page is behind the end (kernel: memfd_pin_folios). */
  pin(first: number, count: number, access: number, frames: Float64Array): number {
    const there = this.map() ? Math.min(count, this.mappedPages - first) : 0;
    const got = there <= 0 ? 0 : this.own.pin(this.base + first, there, access, frames);
    if (got <= 0) return -Errno.EINVAL;
    this.pins += got;
    return got;
  }

  unpin(frames: Float64Array, count: number): void {
    this.own.unpin(frames, count);
    this.pins -= count;
  }

  isReserved(): boolean {
    return false;
  }

  accountLocked(): void {}

  /** Its pages go nowhere without a call on the file itself, which pins do not hear of. */
  subscribe(_notifier: MmuNotifier): () => void {
    return () => {};
  }

  close(): void {
    this.unmap();
    close(this.fd);
    this.spaces.giveBack(this.own);
  }

  /** Maps all of the file, once; more of it when it has grown and nothing of it is pinned. */
  private map(): boolean {
    const pages = Math.ceil(fstatSync(this.fd).size / PAGE_SIZE);
    if (pages > this.mappedPages && this.pins === 0) {
      this.unmap();
      const flags = MAP_SHARED | MAP_NORESERVE;
      const address = mmap(0, pages * PAGE_SIZE, PROT_READ | PROT_WRITE, flags, this.fd, 0);
      if (address === -1) return false;
      this.base = address / PAGE_SIZE;
      this.mappedPages = pages;
      this.own.forgetProtections();
    }
    return this.mappedPages > 0;
  }

  private unmap(): void {
    if (this.mappedPages > 0) munmap(this.base * PAGE_SIZE, this.mappedPages * PAGE_SIZE);
    this.mappedPages = 0;
  }
}

function isMemory(path: string): boolean {
  try {
    const { type } = statfsSync(path);
    return type === TMPFS || type === HUGETLBFS;
  } catch {
    return false;
  }
}
