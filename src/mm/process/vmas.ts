/** What /proc/PID/maps says: which pages may be read and written. Cached, because a page-in asks each time. */
import { closeSync, openSync, readSync } from 'node:fs';
import { PAGE_SIZE, READ, WRITE } from '../address-space.js';

const chunk = Buffer.allocUnsafe(1 << 16);

/** Pages [first, end) with one permission. */
interface Area {
  readonly first: number;
  readonly end: number;
  readonly permission: number;
  /** MAP_PRIVATE: a fork shares its pages until one side writes. */
  readonly isPrivate: boolean;
}

export class VmaCache {
  /** First page, end page and permission of each area, ascending. */
  private areas: Area[] = [];
  private heap = 0;
  private fd: number;

  constructor(path: string) {
    // Opened at once: the descriptor means this memory, whatever the process execs later.
    this.fd = openOrGone(path);
  }

  /** Whether the memory still exists: an old one reads as empty. */
  alive(): boolean {
    try {
      return this.fd >= 0 && readSync(this.fd, chunk, 0, 1, 0) > 0;
    } catch {
      return false;
    }
  }

  /** How many pages from `first` on, at most `count`, allow `access`. */
  allowed(first: number, count: number, access: number): number {
    const known = this.run(first, count, access);
    if (known === count) return known;
    // Areas appear without notice (mmap does not take memory away), so a miss asks the kernel.
    this.reload();
    return this.run(first, count, access);
  }

  /** The private areas as the kernel has them now; a copy, because their invalidation drops the cache. */
  privateAreas(): readonly Area[] {
    this.reload();
    return this.areas.filter((area) => area.isPrivate);
  }

  /** First page behind the heap (brk), 0 where there is none. */
  heapEnd(): number {
    this.reload();
    return this.heap;
  }

  /** Forgets everything: protections or areas are about to change. */
  drop(): void {
    this.areas.length = 0;
  }

  close(): void {
    if (this.fd >= 0) closeSync(this.fd);
    this.fd = -1;
    this.drop();
  }

  private run(first: number, count: number, access: number): number {
    let low = 0;
    let high = this.areas.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.areas[middle]!.end <= first) low = middle + 1;
      else high = middle;
    }
    let page = first;
    const end = first + count;
    for (; low < this.areas.length && page < end; low++) {
      const area = this.areas[low]!;
      if (area.first > page || (area.permission & access) !== access) break;
      page = area.end;
    }
    return Math.min(page, end) - first;
  }

  private reload(): void {
    this.areas.length = 0;
    this.heap = 0;
    if (this.fd < 0) return;
    try {
      let text = '';
      for (let position = 0; ; ) {
        const got = readSync(this.fd, chunk, 0, chunk.length, position);
        if (got === 0) break;
        text += chunk.toString('latin1', 0, got);
        position += got;
      }
      for (const line of text.split('\n')) {
        const dash = line.indexOf('-');
        if (dash < 0) continue;
        const space = line.indexOf(' ', dash);
        const end = Number.parseInt(line.slice(dash + 1, space), 16) / PAGE_SIZE;
        if (line.endsWith('[heap]')) this.heap = end;
        this.areas.push({
          first: Number.parseInt(line.slice(0, dash), 16) / PAGE_SIZE,
          end,
          permission: (line[space + 1] === 'r' ? READ : 0) | (line[space + 2] === 'w' ? WRITE : 0),
          isPrivate: line[space + 4] === 'p',
        });
      }
    } catch {
      // The process is gone: nothing is allowed any more.
      this.areas.length = 0;
    }
  }
}

function openOrGone(path: string): number {
  try {
    return openSync(path, 'r');
  } catch {
    return -1;
  }
}
