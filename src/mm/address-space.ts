/**
 * What VFIO needs of a process's memory.
 *
 * Terms: a *page* is 4 KiB; a *page number* is address / 4096. A *frame number* is what a
 * translation ends in: for a simulated space the simulated memory's frame, for a live process
 * `space id * 2^40 + page number` (what lies there now). Both are exact doubles below 2^52.
 */
import type { Flow } from '../flow/flow.js';

export const PAGE_SIZE = 4096;

/** Bytes, rounded up to whole pages (kernel: PAGE_ALIGN). */
export const pagesUp = (bytes: number): number => Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE;

/** TASK_SIZE_MAX of x86-64 with 4-level page tables: the last page below 2^47 is left out. */
export const X86_64_TASK_SIZE = 2 ** 47 - PAGE_SIZE;

/** Access and permission bits. */
export const READ = 1;
export const WRITE = 2;

/** Told before pages go away (kernel: mmu_notifier_ops, R3.1). */
export interface MmuNotifier {
  /**
   * The pages [first, first + count) are about to be taken away or changed. On return no
   * translation to them is left in any domain or IOTLB. It may not fail and may not wait (R3.3).
   * `reclaimed`: they have left memory without a call of the program.
   */
  invalidate(first: number, count: number, reclaimed?: boolean): void;
  /**
   * The address space ends (exit or exec): every page goes. The subscription is over when this
   * returns.
   */
  release(): void;
  /**
   * Walks the pages of the space that are in I/O page tables: puts the next run of them, at most
   * `most` pages, into `walk` and moves it on. The run is empty where there was only much to step
   * over. False: the walk is over, and the next one begins. Allocates nothing. Absent where nobody
   * needs it.
   */
  nextMapped?(walk: MappedWalk, most: number): boolean;
}

/** A walk over mapped pages that lasts: where it is, and the run that it found. */
export interface MappedWalk {
  /** The notifier's own; 0 begins. */
  position: number;
  /** The run's first page in the space, and its pages. */
  first: number;
  count: number;
}

export interface AddressSpace {
  /** Small index, unique among the spaces of one run, 0 to 4095. */
  readonly id: number;

  /**
   * The end of user space, in bytes: no address of the process lies at or above it (access_ok,
   * TASK_SIZE_MAX).
   */
  readonly taskSize: number;

  /** copy_from_user: fills `into` from `address`; false where a byte cannot be read (EFAULT). */
  copyFrom(address: number, into: Uint8Array): boolean;
  /**
   * copy_to_user: writes all of `from` at `address`; false where a byte cannot be written (EFAULT).
   */
  copyTo(address: number, from: Uint8Array): boolean;

  /**
   * Brings pages [first, first + count) in for `access` and stores their frames, without pinning.
   * Returns how many pages from the first on it got: 0 means that the first page cannot be accessed
   * so (EFAULT); -1 that it cannot be had without waiting, then `pageInFlow` must be used.
   */
  pageIn(first: number, count: number, access: number, frames: Float64Array): number;
  /** `pageIn` that waits and never answers -1. Present where `pageIn` may answer -1. */
  pageInFlow?(first: number, count: number, access: number, frames: Float64Array): Flow<number>;
  /**
   * Counts invalidations begun. A page-in during which it moved must start again
   * (mmu_interval_read_begin/retry, R3.3).
   */
  readonly invalidations: number;

  /**
   * Pins pages [first, first + count) for `access` (pin_user_pages, FOLL_LONGTERM) and stores their
   * frames. Returns how many it pinned from the first on; where that is 0, minus the errno (EFAULT,
   * ENOMEM).
   */
  pin(first: number, count: number, access: number, frames: Float64Array): number;
  /** Undoes `pin` of as many frames. */
  unpin(frames: Float64Array, count: number): void;

  /**
   * Whether a frame is no ordinary memory (the shared zero page, a device's registers): its pins
   * are not accounted. Absent where a space has none such.
   */
  isReserved?(frame: number): boolean;

  /** Whether a device's registers are among pages. Absent where a space has none such. */
  hasDevicePages?(first: number, count: number): boolean;

  /** Pages in the locked-memory account (mm->locked_vm, /proc VmLck): mlock's and those of pins. */
  readonly lockedPages: number;
  /** RLIMIT_MEMLOCK in pages; Infinity where unlimited. */
  readonly lockLimitPages: number;
  /** Whether the process has CAP_IPC_LOCK. */
  readonly ipcLock: boolean;
  /** Adds pages to the account, or takes them off (negative). The caller has checked the limit. */
  accountLocked(pages: number): void;
  /**
   * Adds pages to those that the process shows as pinned (mm->pinned_vm, /proc VmPin), or takes
   * them off. Absent where nobody looks.
   */
  accountPinned?(pages: number): void;

  /** How often the page of a frame is pinned. Absent where nobody counts. */
  pinsAt?(frame: number): number;
  /**
   * Whether two frames are the same memory, which pages of a shared file are. Absent where a
   * frame's number says it.
   */
  isSameMemory?(frame: number, other: number): boolean;

  /** Nothing maps it any more. Absent where it ends by itself, as a process does. */
  close?(): void;

  /** Registers a notifier; the returned function ends the subscription (idempotent). */
  subscribe(notifier: MmuNotifier): () => void;
}
