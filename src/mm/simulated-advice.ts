/**
 * What takes pages away from memory that stays mapped: madvise(2) of a simulated process, and files
 * that lose pages.
 */
import { Errno } from '../abi/errno.js';
import { WRITE } from './address-space.js';
import type { Area, Areas } from './areas.js';
import type { FileMapper, SimulatedFile } from './simulated-file.js';
import type { SimulatedNotifiers } from './simulated-notifiers.js';
import type { SimulatedPages } from './simulated-pages.js';

export class SimulatedAdvice implements FileMapper {
  constructor(
    private readonly areas: Areas,
    private readonly pages: SimulatedPages,
    private readonly notifiers: SimulatedNotifiers,
  ) {}

  /**
   * madvise(MADV_DONTNEED): EINVAL on locked, ENOMEM on unmapped pages, else 0. Private memory is
   * lost, a file's is not.
   */
  dontNeed(first: number, count: number): number {
    const end = first + count;
    if (!this.areas.covers(first, end)) return Errno.ENOMEM;
    if (this.areas.lockedIn(first, end) !== 0) return Errno.EINVAL;
    this.notifiers.tell(first, count);
    this.pages.drop(first, count);
    return 0;
  }

  /**
   * madvise(MADV_FREE): private memory may be taken when it is needed, and what is in swap goes at
   * once. EINVAL on a file's or locked pages, ENOMEM on unmapped ones, else 0.
   */
  free(first: number, count: number): number {
    const end = first + count;
    if (!this.areas.covers(first, end)) return Errno.ENOMEM;
    const areas = this.areas.within(first, end);
    if (areas.some(({ file, locked, huge }) => file !== null || locked || huge))
      return Errno.EINVAL;
    this.notifiers.tell(first, count);
    this.pages.forgetSwapped(first, end);
    return 0;
  }

  /**
   * madvise(MADV_REMOVE): a hole in the file behind a shared mapping, which reads as zeros. EINVAL
   * on locked pages and where there is no file, EACCES where it is not mapped shared and for
   * writing, ENOMEM on unmapped pages, else 0.
   */
  punch(first: number, count: number): number {
    const end = first + count;
    if (!this.areas.covers(first, end)) return Errno.ENOMEM;
    for (const area of this.areas.within(first, end)) {
      const { file, locked, shared, protection } = area;
      if (locked || file === null) return Errno.EINVAL;
      if (!shared || (protection & WRITE) === 0) return Errno.EACCES;
      file.punch(area.offset, area.end - area.first);
    }
    return 0;
  }

  /**
   * madvise(MADV_DONTFORK, MADV_WIPEONFORK and their opposites): what a child finds. EINVAL where
   * memory with a file is to be wiped, ENOMEM on unmapped pages, else 0.
   */
  setOnFork(first: number, count: number, onFork: Area['onFork']): number {
    const end = first + count;
    if (!this.areas.covers(first, end)) return Errno.ENOMEM;
    const areas = this.areas.within(first, end);
    if (onFork === 'wipe' && areas.some(({ file }) => file !== null)) return Errno.EINVAL;
    for (const area of areas) area.onFork = onFork;
    return 0;
  }

  fileTruncated(file: SimulatedFile, size: number): void {
    for (const area of this.areas.list)
      if (area.file === file) this.dropOfFile(area, size, Number.POSITIVE_INFINITY);
  }

  filePunched(file: SimulatedFile, first: number, end: number): void {
    // A private copy of a page stays.
    for (const area of this.areas.list)
      if (area.file === file && area.shared) this.dropOfFile(area, first, end);
  }

  /** What an area has of the pages [first, end) of its file goes. */
  private dropOfFile(area: Area, first: number, end: number): void {
    const from = Math.max(area.first, area.first + first - area.offset);
    const to = Math.min(area.end, area.first + end - area.offset);
    if (from >= to) return;
    this.notifiers.tell(from, to - from);
    this.pages.drop(from, to - from);
  }
}
