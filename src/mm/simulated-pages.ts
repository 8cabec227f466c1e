import { Bug } from '../abi/bug.js';
import { READ, WRITE } from './address-space.js';
import type { Area, Areas } from './areas.js';
import { PAGE_NUMBER_LIMIT, PageTable } from './page-table.js';
import type { SimulatedFile } from './simulated-file.js';
import { type PageContent, type SimulatedMemory, ZERO_FRAME } from './simulated-memory.js';
import { Swap } from './swap.js';

/**
 * Why a page has no frame: the access is not allowed, it must be waited for, or there is no memory.
 */
export const FORBIDDEN = -1;
export const WAITS = -2;
export const NO_MEMORY = -3;

const HUGE_PAGES = 512;

/**
 * The pages of a simulated process: its page table and its swap. READ in an entry means *present*,
 * WRITE *may be written where it is*; what is allowed is the area's.
 */
export class SimulatedPages {
  readonly table = new PageTable();
  /** Where reclaim goes on. */
  hand = 0;
  private readonly swap = new Swap();

  /** @param notify tells the notifiers that pages are about to go */
  constructor(
    private readonly memory: SimulatedMemory,
    private readonly notify: (first: number, count: number) => void,
  ) {}

  /**
   * The frame of a page for an access, brought in where it is not at hand; else FORBIDDEN,
   * NO_MEMORY or WAITS.
   */
  frameFor(area: Area, page: number, access: number, mayWait: boolean): number {
    const needed = access & WRITE;
    // As pin_user_pages: a write needs write permission, anything else read permission.
    if ((area.protection & (needed || READ)) === 0) return FORBIDDEN;
    const frame = this.table.lookup(page, needed);
    return frame >= 0 ? frame : this.faultIn(area, page, needed, mayWait);
  }

  /**
   * The frames of pages [page, page + count) of an area for an access, up to the first that is not
   * at hand. Returns how many.
   */
  framesAtHand(
    area: Area,
    page: number,
    count: number,
    access: number,
    frames: Float64Array,
  ): number {
    const needed = access & WRITE;
    if ((area.protection & (needed || READ)) === 0) return 0;
    return this.table.lookupRun(page, count, needed, frames);
  }

  private faultIn(area: Area, page: number, write: number, mayWait: boolean): number {
    const present = this.table.lookup(page, 0);
    if (present >= 0) {
      if (!area.shared && !this.memory.isExclusive(present))
        return this.breakSharing(page, present);
      this.table.set(page, present, READ | WRITE);
      return present;
    }
    const swapped = this.swap.contentOf(page);
    if (swapped !== null) return mayWait ? this.swapIn(page, swapped) : WAITS;
    if (area.file !== null) return this.fileIn(area, area.file, page, write);
    if (area.huge) return this.hugeIn(area, page);
    if (write === 0) {
      this.table.set(page, ZERO_FRAME, READ);
      return ZERO_FRAME;
    }
    const frame = this.memory.allocate();
    if (frame < 0) return NO_MEMORY;
    this.table.set(page, frame, READ | WRITE);
    return frame;
  }

  private fileIn(area: Area, file: SimulatedFile, page: number, write: number): number {
    const filePage = page - area.first + area.offset;
    if (filePage >= file.size) return FORBIDDEN;
    const frame = file.frameFor(filePage);
    if (frame < 0) return NO_MEMORY;
    this.memory.hold(frame);
    this.table.set(page, frame, area.shared ? READ | WRITE : READ);
    return write === 0 || area.shared ? frame : this.breakSharing(page, frame);
  }

  private hugeIn(area: Area, page: number): number {
    const first = this.memory.allocateBlock(HUGE_PAGES);
    if (first < 0) return NO_MEMORY;
    const base = page - ((page - area.first) % HUGE_PAGES);
    this.table.setRun(base, first, HUGE_PAGES, READ | WRITE);
    return first + page - base;
  }

  /** Copy-on-write: the page gets a frame of its own. */
  breakSharing(page: number, shared: number): number {
    // Held, because reclaim may take this very page on the way to a frame for its copy.
    this.memory.hold(shared);
    const frame = this.memory.allocate();
    if (frame < 0) {
      this.memory.release(shared);
      return NO_MEMORY;
    }
    this.notify(page, 1);
    if (this.table.lookup(page, 0) === shared) this.memory.release(shared);
    this.swap.delete(page);
    this.memory.copy(shared, frame);
    this.memory.release(shared);
    this.table.set(page, frame, READ | WRITE);
    return frame;
  }

  private swapIn(page: number, content: PageContent): number {
    const frame = this.memory.allocate();
    if (frame < 0) return NO_MEMORY;
    this.memory.putContent(frame, content);
    this.swap.delete(page);
    this.table.set(page, frame, READ | WRITE);
    return frame;
  }

  /**
   * Takes a page away and keeps its bytes; false where it is pinned, locked or not the process's
   * alone.
   */
  swapOut(area: Area, page: number): boolean {
    const frame = this.table.lookup(page, 0);
    if (area.locked || area.shared) return false;
    if (!this.memory.isExclusive(frame) || this.memory.isPinned(frame)) return false;
    this.notify(page, 1);
    this.swap.put(page, this.memory.takeContent(frame));
    this.table.clear(page, 1);
    this.memory.release(frame);
    return true;
  }

  /**
   * A page that another process has too, as a fork leaves it: a pin must not go to a frame that a
   * write replaces.
   */
  sharesAnonymous(frame: number): boolean {
    return frame !== ZERO_FRAME && !this.memory.isOfFile(frame) && !this.memory.isExclusive(frame);
  }

  /** fork(2) of one area. */
  shareWith(child: SimulatedPages, area: Area): void {
    const table = this.table;
    const end = area.end;
    for (
      let at = table.nextPresent(area.first, end);
      at < end;
      at = table.nextPresent(at + 1, end)
    ) {
      const frame = table.lookup(at, 0);
      if (!area.shared && this.memory.isPinned(frame) && !this.memory.isOfFile(frame)) {
        const copy = this.memory.allocate();
        if (copy < 0) throw new Bug('no memory to fork', { page: at });
        this.memory.copy(frame, copy);
        child.table.set(at, copy, READ | WRITE);
        continue;
      }
      this.memory.hold(frame);
      if (!area.shared) table.removeBits(at, WRITE);
      child.table.set(at, frame, table.bits(at));
    }
    for (const [page, { byte, data }] of this.swap.entriesOf(area.first, end))
      child.swap.put(page, { byte, data: data?.slice() ?? null });
  }

  /** Moves pages to another address. */
  move(first: number, count: number, to: number): void {
    const end = first + count;
    for (
      let at = this.table.nextPresent(first, end);
      at < end;
      at = this.table.nextPresent(at + 1, end)
    ) {
      this.table.set(at - first + to, this.table.lookup(at, 0), this.table.bits(at));
    }
    this.table.clear(first, count);
    const swapped = this.swap.entriesOf(first, end);
    this.swap.deleteRange(first, end);
    for (const [page, content] of swapped) this.swap.put(page - first + to, content);
  }

  /** Gives pages other frames with the same bytes, where the process has them alone. */
  migrate(first: number, count: number): void {
    const end = first + count;
    for (
      let at = this.table.nextPresent(first, end);
      at < end;
      at = this.table.nextPresent(at + 1, end)
    ) {
      const frame = this.table.lookup(at, 0);
      if (!this.memory.isExclusive(frame) || this.memory.isPinned(frame)) continue;
      const target = this.memory.allocate();
      if (target < 0) return;
      this.memory.copy(frame, target);
      this.table.set(at, target, this.table.bits(at));
      this.memory.release(frame);
    }
  }

  peek(page: number, offset: number, into: Uint8Array): void {
    const frame = this.table.lookup(page, 0);
    const swapped = this.swap.contentOf(page);
    if (frame >= 0) this.memory.readPage(frame, offset, into);
    else if (swapped?.data) into.set(swapped.data.subarray(offset, offset + into.length));
    else if (swapped) into.fill(swapped.byte);
  }

  isSwapped(page: number): boolean {
    return this.swap.has(page);
  }

  /** Takes those of [first, end) to swap that can go there. */
  pageOut(areas: Areas, first: number, end: number): void {
    const { table } = this;
    for (let at = table.nextPresent(first, end); at < end; at = table.nextPresent(at + 1, end))
      this.swapOut(areas.find(at)!, at);
  }

  /**
   * Takes up to `count` pages away and keeps their bytes in swap. Returns how many went; pinned,
   * locked and shared ones stay.
   */
  reclaim(areas: Areas, count: number): number {
    const { table } = this;
    let reclaimed = 0;
    for (let seen = table.present; seen > 0 && reclaimed < count; seen--) {
      let page = table.nextPresent(this.hand, PAGE_NUMBER_LIMIT);
      if (page === PAGE_NUMBER_LIMIT) page = table.nextPresent(0, PAGE_NUMBER_LIMIT);
      if (page === PAGE_NUMBER_LIMIT) break;
      this.hand = page + 1;
      if (this.swapOut(areas.find(page)!, page)) reclaimed++;
    }
    return reclaimed;
  }

  /** Empties the page table and swap of a range, and lets the frames go. */
  drop(first: number, count: number): void {
    const end = first + count;
    for (
      let at = this.table.nextPresent(first, end);
      at < end;
      at = this.table.nextPresent(at + 1, end)
    ) {
      this.memory.release(this.table.lookup(at, 0));
    }
    this.table.clear(first, count);
    this.forgetSwapped(first, end);
  }

  /** What swap has of the pages [first, end) is lost. */
  forgetSwapped(first: number, end: number): void {
    this.swap.deleteRange(first, end);
  }
}
