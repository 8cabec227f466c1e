import { Bug } from '../abi/bug.js';

/**
 * A radix table from page numbers to frames and access bits, over two typed arrays: what a domain's
 * I/O page table and a simulated process's page table are made of.
 *
 * Terms: a *leaf* holds 64 entries, a *directory* 1024 children; three directories lead to a leaf,
 * which covers page numbers below 2^36. An *entry* is two 32-bit halves: the low one holds bits
 * 0–29 of the frame above two access bits, the high one bits 30–51. An entry without access bits is
 * empty. Tables come from arenas that grow by doubling, are freed when they get empty, and are all
 * zero when free.
 */

export const PAGE_NUMBER_LIMIT = 2 ** 36;

const LEAF_ENTRIES = 64;
const LEAF_CELLS = 128;
const DIRECTORY_ENTRIES = 1024;
/** Pages under one leaf, one directory of leaves, one directory of directories. */
const SPAN_1 = 2 ** 6;
const SPAN_2 = 2 ** 16;
const SPAN_3 = 2 ** 26;
const HIGH_UNIT = 2 ** 30;

const INITIAL_DIRECTORIES = 4;
const INITIAL_LEAVES = 16;

export class PageTable {
  /** Entries that are present. */
  present = 0;

  private readonly initialDirectories = new Int32Array(INITIAL_DIRECTORIES * DIRECTORY_ENTRIES);
  private readonly initialLeaves = new Int32Array(INITIAL_LEAVES * LEAF_CELLS);
  private readonly initialDirectoryUse = new Int32Array(INITIAL_DIRECTORIES);
  private readonly initialLeafUse = new Int32Array(INITIAL_LEAVES);

  /** Children by number, 0 for none; directory 0 is the root. */
  private directories = this.initialDirectories;
  private leaves = this.initialLeaves;
  /** Children or entries in use; for a free table, minus the number of the next free one. */
  private directoryUse = this.initialDirectoryUse;
  private leafUse = this.initialLeafUse;
  /** Heads of the free lists, 0 where empty, and the first numbers never used. */
  private freeDirectory = 0;
  private freeLeaf = 0;
  private nextDirectory = 1;
  private nextLeaf = 1;

  /**
   * The frame at `page` where the entry allows all of `access`, else -1. With `access` 0: where an
   * entry is present.
   */
  lookup(page: number, access: number): number {
    const cell = this.cellOf(page);
    if (cell < 0) return -1;
    const low = this.leaves[cell]!;
    if ((low & access) !== access || (low & 3) === 0) return -1;
    return this.leaves[cell + 1]! * HIGH_UNIT + (low >>> 2);
  }

  /**
   * `lookup` of pages [page, page + count), up to the first that does not allow `access`: puts
   * their frames into `frames` and returns how many.
   */
  lookupRun(page: number, count: number, access: number, frames: Float64Array): number {
    let done = 0;
    while (done < count) {
      let cell = this.cellOf(page + done);
      if (cell < 0) break;
      const leaves = this.leaves;
      const stop = done + Math.min(LEAF_ENTRIES - ((page + done) & 63), count - done);
      for (; done < stop; done++, cell += 2) {
        const low = leaves[cell]!;
        if ((low & access) !== access || (low & 3) === 0) return done;
        frames[done] = leaves[cell + 1]! * HIGH_UNIT + (low >>> 2);
      }
    }
    return done;
  }

  /** The access bits of the entry at `page`, 0 where there is none. */
  bits(page: number): number {
    const cell = this.cellOf(page);
    return cell < 0 ? 0 : this.leaves[cell]! & 3;
  }

  /** Sets one entry, whether there was one or not. */
  set(page: number, frame: number, bits: number): void {
    this.write(this.leafFor(page), page & 63, frame, bits);
  }

  /** Sets `count` entries from `page` on to the frames in `frames`. */
  setFrames(page: number, frames: Float64Array, count: number, bits: number): void {
    let done = 0;
    while (done < count) {
      const leaf = this.leafFor(page + done);
      const first = (page + done) & 63;
      const run = Math.min(LEAF_ENTRIES - first, count - done);
      let added = 0;
      let cell = leaf * LEAF_CELLS + first * 2;
      const leaves = this.leaves;
      for (let i = 0; i < run; i++, cell += 2) {
        const frame = frames[done + i]!;
        if ((leaves[cell]! & 3) === 0) added++;
        leaves[cell] = (frame << 2) | bits;
        leaves[cell + 1] = (frame / HIGH_UNIT) | 0;
      }
      this.leafUse[leaf]! += added;
      this.present += added;
      done += run;
    }
  }

  /** Sets `count` entries from `page` on to consecutive frames from `frame` on. */
  setRun(page: number, frame: number, count: number, bits: number): void {
    let done = 0;
    while (done < count) {
      const leaf = this.leafFor(page + done);
      const first = (page + done) & 63;
      const run = Math.min(LEAF_ENTRIES - first, count - done);
      for (let i = 0; i < run; i++) this.write(leaf, first + i, frame + done + i, bits);
      done += run;
    }
  }

  /** Empties [page, page + count); returns how many entries were present. Allocates nothing. */
  clear(page: number, count: number): number {
    const before = this.present;
    const end = Math.min(page + count, PAGE_NUMBER_LIMIT);
    for (let at = page; at < end; ) at = this.clearLeaf(at, end);
    if (this.present === 0 && before !== 0) this.shrink();
    return before - this.present;
  }

  /** Takes bits off the entry at `page`; an entry that keeps none goes. */
  removeBits(page: number, bits: number): void {
    const cell = this.cellOf(page);
    if (cell < 0) return;
    const left = this.leaves[cell]! & 3 & ~bits;
    if (left === 0) this.clear(page, 1);
    else this.leaves[cell] = (this.leaves[cell]! & ~3) | left;
  }

  /** The first page at or after `page` and below `end` that has an entry, else `end`. */
  nextPresent(page: number, end: number): number {
    const limit = Math.min(end, PAGE_NUMBER_LIMIT);
    let at = page;
    while (at < limit) {
      const top = Math.floor(at / SPAN_2);
      const upper = this.directories[top >>> 10]!;
      if (upper === 0) {
        at = (Math.floor(at / SPAN_3) + 1) * SPAN_3;
        continue;
      }
      const lower = this.directories[upper * DIRECTORY_ENTRIES + (top & 1023)]!;
      if (lower === 0) {
        at = (top + 1) * SPAN_2;
        continue;
      }
      const leaf = this.directories[lower * DIRECTORY_ENTRIES + ((at & 0xffff) >>> 6)]!;
      const leafEnd = (Math.floor(at / SPAN_1) + 1) * SPAN_1;
      if (leaf !== 0) {
        const stop = Math.min(leafEnd, limit);
        for (let cell = leaf * LEAF_CELLS + (at & 63) * 2; at < stop; at++, cell += 2) {
          if ((this.leaves[cell]! & 3) !== 0) return at;
        }
      }
      at = leafEnd;
    }
    return end;
  }

  /** Bytes of the engine's memory that the tables take. */
  get bytes(): number {
    return (
      this.directories.byteLength +
      this.leaves.byteLength +
      this.directoryUse.byteLength +
      this.leafUse.byteLength
    );
  }

  private cellOf(page: number): number {
    if (!(page >= 0 && page < PAGE_NUMBER_LIMIT)) return -1;
    const directories = this.directories;
    const top = (page / SPAN_2) | 0;
    const upper = directories[top >>> 10]!;
    if (upper === 0) return -1;
    const lower = directories[upper * DIRECTORY_ENTRIES + (top & 1023)]!;
    if (lower === 0) return -1;
    const leaf = directories[lower * DIRECTORY_ENTRIES + ((page & 0xffff) >>> 6)]!;
    return leaf === 0 ? -1 : leaf * LEAF_CELLS + (page & 63) * 2;
  }

  private write(leaf: number, index: number, frame: number, bits: number): void {
    const cell = leaf * LEAF_CELLS + index * 2;
    if ((this.leaves[cell]! & 3) === 0) {
      this.leafUse[leaf]!++;
      this.present++;
    }
    // A shift takes a number modulo 2^32: what is above bit 29 falls off.
    this.leaves[cell] = (frame << 2) | bits;
    this.leaves[cell + 1] = (frame / HIGH_UNIT) | 0;
  }

  /** The leaf for `page`, made where it is not there. */
  private leafFor(page: number): number {
    if (!(page >= 0 && page < PAGE_NUMBER_LIMIT)) throw new Bug('page outside the table', { page });
    const top = (page / SPAN_2) | 0;
    const upper = this.child(0, top >>> 10);
    const lower = this.child(upper, top & 1023);
    const cell = lower * DIRECTORY_ENTRIES + ((page & 0xffff) >>> 6);
    let leaf = this.directories[cell]!;
    if (leaf === 0) {
      leaf = this.takeLeaf();
      this.directories[cell] = leaf;
      this.directoryUse[lower]!++;
    }
    return leaf;
  }

  private child(directory: number, index: number): number {
    const cell = directory * DIRECTORY_ENTRIES + index;
    let child = this.directories[cell]!;
    if (child === 0) {
      child = this.takeDirectory();
      this.directories[cell] = child;
      this.directoryUse[directory]!++;
    }
    return child;
  }

  private takeLeaf(): number {
    const free = this.freeLeaf;
    if (free !== 0) {
      this.freeLeaf = -this.leafUse[free]!;
      this.leafUse[free] = 0;
      return free;
    }
    if (this.nextLeaf === this.leafUse.length) {
      this.leaves = doubled(this.leaves);
      this.leafUse = doubled(this.leafUse);
    }
    return this.nextLeaf++;
  }

  private takeDirectory(): number {
    const free = this.freeDirectory;
    if (free !== 0) {
      this.freeDirectory = -this.directoryUse[free]!;
      this.directoryUse[free] = 0;
      return free;
    }
    if (this.nextDirectory === this.directoryUse.length) {
      this.directories = doubled(this.directories);
      this.directoryUse = doubled(this.directoryUse);
    }
    return this.nextDirectory++;
  }

  /**
   * Empties what lies in [page, end) of the leaf of `page`, frees what gets empty, and returns
   * where to go on.
   */
  private clearLeaf(page: number, end: number): number {
    const directories = this.directories;
    const top = Math.floor(page / SPAN_2);
    const upper = directories[top >>> 10]!;
    if (upper === 0) return (Math.floor(page / SPAN_3) + 1) * SPAN_3;
    const upperCell = upper * DIRECTORY_ENTRIES + (top & 1023);
    const lower = directories[upperCell]!;
    if (lower === 0) return (top + 1) * SPAN_2;
    const lowerCell = lower * DIRECTORY_ENTRIES + ((page & 0xffff) >>> 6);
    const leaf = directories[lowerCell]!;
    const leafEnd = (Math.floor(page / SPAN_1) + 1) * SPAN_1;
    if (leaf === 0) return leafEnd;

    const leaves = this.leaves;
    const stop = Math.min(leafEnd, end);
    let removed = 0;
    for (let cell = leaf * LEAF_CELLS + (page & 63) * 2, at = page; at < stop; at++, cell += 2) {
      if ((leaves[cell]! & 3) === 0) continue;
      leaves[cell] = 0;
      leaves[cell + 1] = 0;
      removed++;
    }
    this.present -= removed;
    this.leafUse[leaf]! -= removed;
    if (this.leafUse[leaf] !== 0) return stop;

    this.leafUse[leaf] = -this.freeLeaf;
    this.freeLeaf = leaf;
    directories[lowerCell] = 0;
    if (--this.directoryUse[lower]! === 0) {
      this.releaseDirectory(lower);
      directories[upperCell] = 0;
      if (--this.directoryUse[upper]! === 0) {
        this.releaseDirectory(upper);
        directories[top >>> 10] = 0;
        this.directoryUse[0]!--;
      }
    }
    return stop;
  }

  private releaseDirectory(directory: number): void {
    this.directoryUse[directory] = -this.freeDirectory;
    this.freeDirectory = directory;
  }

  /**
   * An empty table gives its arenas back. The first, small ones were kept for this, so that it
   * allocates nothing.
   */
  private shrink(): void {
    if (this.leaves === this.initialLeaves && this.directories === this.initialDirectories) return;
    this.directories = this.initialDirectories;
    this.leaves = this.initialLeaves;
    this.directoryUse = this.initialDirectoryUse;
    this.leafUse = this.initialLeafUse;
    // Growing copied the first arenas as they were then, so they are not clean.
    this.directories.fill(0);
    this.leaves.fill(0);
    this.directoryUse.fill(0);
    this.leafUse.fill(0);
    this.freeDirectory = 0;
    this.freeLeaf = 0;
    this.nextDirectory = 1;
    this.nextLeaf = 1;
  }
}

function doubled(cells: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const grown = new Int32Array(cells.length * 2);
  grown.set(cells);
  return grown;
}
