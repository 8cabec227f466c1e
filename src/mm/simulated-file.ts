import { READ } from './address-space.js';
import { PageTable } from './page-table.js';
import type { SimulatedMemory } from './simulated-memory.js';

/** A space that maps files. */
export interface FileMapper {
  /** A file gets shorter: its pages behind the new end go, private copies of them too. */
  fileTruncated(file: SimulatedFile, size: number): void;
}

/** A file whose pages live in memory: memfd, tmpfs, and what is behind shared anonymous memory. */
export class SimulatedFile {
  /** Spaces that map it. */
  readonly spaces = new Set<FileMapper>();
  private readonly pages = new PageTable();

  constructor(
    readonly memory: SimulatedMemory,
    /** Size in pages; pages behind it cannot be accessed. */
    public size: number,
    /** Nothing names it but its mappings: it goes with the last of them. */
    readonly anonymous = false,
  ) {}

  /** A space has no mapping of it any more. */
  unmapped(space: FileMapper): void {
    this.spaces.delete(space);
    if (this.anonymous && this.spaces.size === 0) this.close();
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
      for (const space of this.spaces) space.fileTruncated(this, size);
      this.dropFrom(size);
    }
    this.size = size;
  }

  /** The last descriptor and mapping are gone: its pages are given back. */
  close(): void {
    this.dropFrom(0);
  }

  private dropFrom(first: number): void {
    const end = this.size;
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
