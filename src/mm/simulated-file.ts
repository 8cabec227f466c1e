import { READ } from './address-space.js';
import { PageTable } from './page-table.js';
import type { SimulatedMemory } from './simulated-memory.js';

/** A space that maps files. */
export interface FileMapper {
  /** A file gets shorter: its pages behind the new end go, private copies of them too. */
  fileTruncated(file: SimulatedFile, size: number): void;
  /** Its pages [first, end) become a hole. */
  filePunched(file: SimulatedFile, first: number, end: number): void;
}

/** A file whose pages live in memory: memfd, tmpfs, and what is behind shared anonymous memory. */
export class SimulatedFile {
  /** Spaces that map it. */
  readonly mappers = new Set<FileMapper>();
  private readonly pages = new PageTable();

  constructor(
    readonly memory: SimulatedMemory,
    /** Size in pages; pages behind it cannot be accessed. */
    public size: number,
    /** Nothing names it but its mappings: it goes with the last of them. */
    readonly anonymous = false,
  ) {}

  /** A space has no mapping of it any more. */
  unmapped(mapper: FileMapper): void {
    this.mappers.delete(mapper);
    if (this.anonymous && this.mappers.size === 0) this.close();
  }

  /**
   * The frame of a page of the file, made where it is a hole; -1 behind the end or without memory.
   */
  frameFor(page: number): number {
    if (page >= this.size) return -1;
    const frame = this.pages.lookup(page, READ);
    if (frame >= 0) return frame;
    const made = this.memory.allocate(true);
    if (made >= 0) this.pages.set(page, made, READ);
    return made;
  }

  /** ftruncate(2): pages behind the new size go, out of every space that maps them first. */
  truncate(size: number): void {
    if (size < this.size) {
      for (const mapper of this.mappers) mapper.fileTruncated(this, size);
      this.drop(size, this.size);
    }
    this.size = size;
  }

  /** fallocate(2) with PUNCH_HOLE: these pages go, out of every space that maps them first. */
  punch(first: number, count: number): void {
    const end = Math.min(first + count, this.size);
    if (first >= end) return;
    for (const mapper of this.mappers) mapper.filePunched(this, first, end);
    this.drop(first, end);
  }

  /** The last descriptor and mapping are gone: its pages are given back. */
  close(): void {
    this.drop(0, this.size);
  }

  private drop(first: number, end: number): void {
    for (
      let page = this.pages.nextPresent(first, end);
      page < end;
      page = this.pages.nextPresent(page + 1, end)
    ) {
      this.memory.release(this.pages.lookup(page, READ));
    }
    this.pages.clear(first, end - first);
  }
}
