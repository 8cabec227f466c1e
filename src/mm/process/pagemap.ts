/**
 * What /proc/PID/pagemap tells of a process's pages: which are in memory, without touching any. By
 * PAGEMAP_SCAN (linux/fs.h, Linux 6.7), or, where the kernel has none, from the entries themselves.
 */
import { closeSync } from 'node:fs';
import { Errno } from '../../abi/errno.js';
import { getLong, setLong } from '../../abi/long.js';
import { PAGE_SIZE } from '../address-space.js';
import { allocateNative, errno, ioctl, pread } from './libc.js';
import { openOrGone } from './vmas.js';

const PAGEMAP_SCAN = 0xc0606610;
const PAGE_IS_WRITTEN = 2;
const PAGE_IS_PRESENT = 8;
const PAGE_IS_PFNZERO = 32;
const REGIONS = 512;

/** struct pm_scan_arg and, behind it, page_region: 64-bit words, here as pairs of 32-bit words. */
const ARGUMENT_BYTES = 96;
const REGION_BYTES = 24;
const Word = {
  SIZE: 0,
  START: 4,
  END: 6,
  WALK_END: 8,
  VECTOR: 10,
  VECTOR_LENGTH: 12,
  MAX_PAGES: 14,
  INVERTED: 16,
  MASK: 18,
  RETURN: 22,
} as const;

/** Entries read at a time without PAGEMAP_SCAN: 64-bit words, bit 63: present. */
const ENTRIES = 4096;
const ENTRY_BYTES = 8;
const ENTRY_PRESENT = 1 << 31;

const memory = allocateNative(ARGUMENT_BYTES + REGIONS * REGION_BYTES);
const words = new Uint32Array(
  memory.bytes.buffer,
  0,
  (ARGUMENT_BYTES + REGIONS * REGION_BYTES) / 4,
);
const entries = allocateNative(ENTRIES * ENTRY_BYTES);
const entryWords = new Uint32Array(entries.bytes.buffer, 0, ENTRIES * 2);
let canScan = true;

/**
 * What to find: pages in memory that reclaim can take, pages that are not in memory, the shared
 * zero page, or pages in memory that userfaultfd protects from writing. The last two only where
 * there is PAGEMAP_SCAN.
 */
export const Presence = { PRESENT: 0, ABSENT: 1, ZERO: 2, PROTECTED: 3 } as const;
export type Presence = (typeof Presence)[keyof typeof Presence];

const masks = [
  PAGE_IS_PRESENT | PAGE_IS_PFNZERO,
  PAGE_IS_PRESENT,
  PAGE_IS_PFNZERO,
  PAGE_IS_PRESENT | PAGE_IS_WRITTEN,
];
const inverted = [PAGE_IS_PFNZERO, PAGE_IS_PRESENT, 0, PAGE_IS_WRITTEN];

/**
 * One process's pagemap. A search leaves `count` regions [first[i], end[i]) of page numbers,
 * ascending. Whether pages in no area of the process count as absent is not defined.
 */
export class Pagemap {
  readonly first = new Float64Array(REGIONS);
  readonly end = new Float64Array(REGIONS);
  count = 0;
  /**
   * Where the last search stopped: its end, or earlier where there was no room for more regions or
   * pages.
   */
  stopped = 0;
  private fd: number;

  /** `mayScan` false: reads entries even where the kernel has PAGEMAP_SCAN. */
  constructor(
    pid: number,
    private readonly mayScan = true,
  ) {
    // Opened once: like /proc/PID/maps, the descriptor means this memory, whatever the process
    // execs later.
    this.fd = openOrGone(`/proc/${pid}/pagemap`);
  }

  /**
   * Searches the pages [first, end) and stops after `most` pages found. Finds nothing where the
   * process is gone. Allocates nothing.
   */
  find(presence: Presence, first: number, end: number, most = Number.POSITIVE_INFINITY): void {
    this.count = 0;
    this.stopped = end;
    if (this.fd < 0 || first >= end) return;
    if (canScan && this.mayScan && this.scan(presence, first, end, most)) return;
    if (presence === Presence.PRESENT || presence === Presence.ABSENT)
      this.read(presence === Presence.PRESENT, first, end, most);
  }

  /** How many pages from `first` on, at most `count`, are in memory. */
  presentFrom(first: number, count: number): number {
    this.find(Presence.ABSENT, first, first + count, 1);
    return this.count === 0 ? count : this.first[0]! - first;
  }

  close(): void {
    if (this.fd >= 0) closeSync(this.fd);
    this.fd = -1;
  }

  /** False: this kernel has no PAGEMAP_SCAN. */
  private scan(presence: Presence, first: number, end: number, most: number): boolean {
    words.fill(0, 0, ARGUMENT_BYTES / 4);
    words[Word.SIZE] = ARGUMENT_BYTES;
    setLong(words, Word.START, first * PAGE_SIZE);
    setLong(words, Word.END, end * PAGE_SIZE);
    setLong(words, Word.VECTOR, memory.address + ARGUMENT_BYTES);
    words[Word.VECTOR_LENGTH] = REGIONS;
    words[Word.MAX_PAGES] = most < 2 ** 32 ? most : 0;
    words[Word.INVERTED] = inverted[presence]!;
    words[Word.MASK] = masks[presence]!;
    words[Word.RETURN] = masks[presence]!;
    const found = ioctl(this.fd, PAGEMAP_SCAN, memory.address);
    if (found < 0) {
      if (errno() === Errno.ENOTTY) canScan = false;
      return canScan;
    }
    this.stopped = getLong(words, Word.WALK_END) / PAGE_SIZE;
    for (let region = 0; region < found; region++) {
      const word = (ARGUMENT_BYTES + region * REGION_BYTES) / 4;
      this.add(getLong(words, word) / PAGE_SIZE, getLong(words, word + 2) / PAGE_SIZE);
    }
    return true;
  }

  private read(present: boolean, first: number, end: number, most: number): void {
    let left = most;
    for (let at = first; at < end; ) {
      const wanted = Math.min(ENTRIES, end - at);
      const got =
        pread(this.fd, entries.address, wanted * ENTRY_BYTES, at * ENTRY_BYTES) / ENTRY_BYTES;
      if (!(got >= 1)) return;
      for (let index = 0; index < got; index++) {
        if (((entryWords[index * 2 + 1]! & ENTRY_PRESENT) !== 0) !== present) continue;
        const page = at + index;
        if (left === 0 || (this.count === REGIONS && this.end[REGIONS - 1] !== page)) {
          this.stopped = page;
          return;
        }
        left--;
        this.add(page, page + 1);
      }
      at += got;
    }
  }

  /**
   * Adds a region, to the last one where they touch (they may differ in categories that nobody
   * asked for).
   */
  private add(first: number, end: number): void {
    if (this.count !== 0 && this.end[this.count - 1] === first) this.end[this.count - 1] = end;
    else {
      this.first[this.count] = first;
      this.end[this.count++] = end;
    }
  }
}
