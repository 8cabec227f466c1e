import type { SimulatedFile } from './simulated-file.js';

/** A range of pages with one protection and one backing (kernel: vm_area_struct). */
export interface Area {
  first: number;
  end: number;
  /** READ and WRITE; 0: PROT_NONE. */
  protection: number;
  /** Writes reach the file; else they make a private copy. */
  readonly shared: boolean;
  /** What is behind it; null: private anonymous memory. */
  readonly file: SimulatedFile | null;
  /** Page of the file at `first`. */
  offset: number;
  /** Allocated in blocks of 512 pages. */
  readonly huge: boolean;
  /** mlocked. */
  locked: boolean;
  /** What a forked child finds there: a copy, nothing (MADV_DONTFORK), zeros (MADV_WIPEONFORK). */
  onFork: 'copy' | 'leave' | 'wipe';
}

/** The areas of a space, by address; they do not overlap. */
export class Areas {
  readonly list: Area[] = [];
  private last: Area | null = null;

  /** The area that holds a page, or null. */
  find(page: number): Area | null {
    const last = this.last;
    if (last !== null && page >= last.first && page < last.end) return last;
    const area = this.list[this.indexFrom(page)];
    if (area === undefined || area.first > page) return null;
    this.last = area;
    return area;
  }

  /** Index of the first area that ends behind a page. */
  indexFrom(page: number): number {
    let low = 0;
    let high = this.list.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.list[middle]!.end <= page) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  insert(area: Area): void {
    this.list.splice(this.indexFrom(area.first), 0, area);
  }

  /** The areas inside [first, end), after those that cross its ends have been split there. */
  within(first: number, end: number): Area[] {
    this.splitAt(first);
    this.splitAt(end);
    const from = this.indexFrom(first);
    let to = from;
    while (to < this.list.length && this.list[to]!.first < end) to++;
    return this.list.slice(from, to);
  }

  /** Takes out the areas inside [first, end) and returns them. */
  remove(first: number, end: number): Area[] {
    const inside = this.within(first, end);
    if (inside.length !== 0) this.list.splice(this.list.indexOf(inside[0]!), inside.length);
    this.last = null;
    return inside;
  }

  /** Whether every page of [first, end) is in some area. */
  covers(first: number, end: number): boolean {
    let at = first;
    for (let index = this.indexFrom(first); at < end; index++) {
      const area = this.list[index];
      if (area === undefined || area.first > at) return false;
      at = area.end;
    }
    return true;
  }

  /** Pages of [first, end) that are locked. */
  lockedIn(first: number, end: number): number {
    let pages = 0;
    for (let index = this.indexFrom(first); index < this.list.length; index++) {
      const area = this.list[index]!;
      if (area.first >= end) break;
      if (area.locked) pages += Math.min(end, area.end) - Math.max(first, area.first);
    }
    return pages;
  }

  /** Moves what is in [first, first + count), and nothing may be at its new place. */
  move(first: number, count: number, to: number): void {
    for (const area of this.remove(first, first + count)) {
      area.end = area.end - first + to;
      area.first = area.first - first + to;
      this.insert(area);
    }
  }

  private splitAt(page: number): void {
    const index = this.indexFrom(page);
    const area = this.list[index];
    if (area === undefined || area.first >= page) return;
    this.list.splice(index, 0, { ...area, end: page });
    area.offset += page - area.first;
    area.first = page;
  }
}
