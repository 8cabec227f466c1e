import { Errno, VfioError } from '../abi/errno.js';
import type { Counters } from '../iommu/observer.js';
import { PAGE_SIZE } from '../mm/address-space.js';
import { SimulatedMemory } from '../mm/simulated-memory.js';

/** Whose pages are taken away when memory runs short. */
export interface PageOwner {
  /** Whether this is still the frame of that page. */
  holds(page: number, frame: number): boolean;
  /** Sends a page to swap. */
  pageOut(page: number): void;
}

/** Pages in use, of all guests together: each takes about 60 bytes of real memory. */
export const SIMULATED_MOST_PAGES = 2 ** 25;

/** Of machines that run together: above this the curves of single ones have to do. */
const TOGETHER_MOST_PAGES = 2 ** 23;

export const PINS_TOO_MUCH =
  'static pinning of more than 128 GiB is not simulated: it goes page by page';

/** A run that would take too much of this machine. */
export class TooLarge extends Error {}

/**
 * The memory of the host that all guests of a run share. Where it is limited, the page that was
 * used longest ago, by a device or the program, goes to swap.
 *
 * Where pins are *counted*, what is pinned is a number: pages that nobody may take away need no
 * frames until they are used. That is all of static pinning, at any size.
 */
export class HostMemory {
  readonly memory: SimulatedMemory;
  readonly limited: boolean;
  private readonly limitPages: number;
  /** The list in order of use, by frame; 0 ends it (the zero frame is in no list). */
  private newer = new Int32Array(1024);
  private older = new Int32Array(1024);
  private inList = new Uint8Array(1024);
  private page = new Float64Array(1024);
  private owner: (PageOwner | null)[] = [];
  private newest = 0;
  private oldest = 0;
  /** Pages pinned by number alone, and the most that there were. */
  private counted = 0;
  private countedPeak = 0;

  constructor(
    limitBytes: number | null,
    readonly countsPins = false,
    private readonly guests = 1,
  ) {
    this.limited = limitBytes !== null && !countsPins;
    this.limitPages =
      limitBytes === null ? Number.POSITIVE_INFINITY : Math.floor(limitBytes / PAGE_SIZE);
    this.memory = new SimulatedMemory(countsPins ? Number.POSITIVE_INFINITY : this.limitPages);
  }

  /** The most that was in use, in pages. */
  get peakPages(): number {
    return this.countsPins ? this.countedPeak : this.memory.framesEnd - 1;
  }

  /** Maps and pins pages by number, all of which are in I/O page tables. ENOMEM: no room. */
  countPinned(pages: number, counters: Counters): void {
    if (this.counted + pages > this.limitPages) throw new VfioError(Errno.ENOMEM);
    this.counted += pages;
    this.countedPeak = Math.max(this.countedPeak, this.counted);
    counters.addMapped(pages);
    counters.addPinned(pages);
    counters.addResident(pages);
  }

  uncountPinned(pages: number, counters: Counters): void {
    this.counted -= pages;
    counters.mappedPages -= pages;
    counters.pinnedPages -= pages;
    counters.residentPages -= pages;
  }

  /** Throws TooLarge where more is in use, or is going to be, than this machine simulates. */
  checkSize(expectedPages = 0): void {
    const pages = Math.max(this.memory.used, expectedPages);
    if (this.guests > 1 && pages > TOGETHER_MOST_PAGES)
      throw new TooLarge(
        'its machines use more than 32 GiB: they are not run together, but added up by their curves',
      );
    if (pages > SIMULATED_MOST_PAGES)
      throw new TooLarge(
        'more than 128 GiB in use at once is not simulated; memory=SIZE limits it',
      );
  }

  /** A page has got this frame: it is the newest. Only where memory is limited. */
  placed(frame: number, owner: PageOwner, page: number): void {
    if (frame === 0) return;
    if (frame >= this.page.length) this.grow(frame);
    if (this.inList[frame] === 1) this.unlink(frame);
    this.owner[frame] = owner;
    this.page[frame] = page;
    this.append(frame);
  }

  /** A page was used. */
  used(frame: number): void {
    if (frame === this.newest || this.inList[frame] !== 1) return;
    this.unlink(frame);
    this.append(frame);
  }

  /** Sends pages to swap until `pages` fit, as far as there are any that can go. */
  makeRoom(pages: number): void {
    const wanted = Math.max(0, this.limitPages - pages);
    while (this.memory.used > wanted && this.oldest !== 0) {
      const frame = this.oldest;
      this.unlink(frame);
      const owner = this.owner[frame]!;
      const page = this.page[frame]!;
      if (owner.holds(page, frame)) owner.pageOut(page);
    }
  }

  /** Room that is kept free for a fault's window. */
  headroom(window: number): number {
    return Math.min(window, Math.max(1, this.limitPages >>> 3));
  }

  private append(frame: number): void {
    this.older[frame] = this.newest;
    this.newer[frame] = 0;
    if (this.newest !== 0) this.newer[this.newest] = frame;
    else this.oldest = frame;
    this.newest = frame;
    this.inList[frame] = 1;
  }

  private unlink(frame: number): void {
    const newer = this.newer[frame]!;
    const older = this.older[frame]!;
    if (newer !== 0) this.older[newer] = older;
    else this.newest = older;
    if (older !== 0) this.newer[older] = newer;
    else this.oldest = newer;
    this.inList[frame] = 0;
  }

  private grow(frame: number): void {
    const length = 2 ** Math.ceil(Math.log2(frame + 1));
    const grown = <T extends Int32Array | Uint8Array | Float64Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.newer = grown(this.newer, new Int32Array(length));
    this.older = grown(this.older, new Int32Array(length));
    this.inList = grown(this.inList, new Uint8Array(length));
    this.page = grown(this.page, new Float64Array(length));
  }
}
