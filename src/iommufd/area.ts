import type { Mapping } from '../ioas/mapping.js';
import type { UserPages } from '../ioas/user-pages.js';
import { PAGE } from './ranges.js';

const PAGE_MASK = PAGE - 1n;

/**
 * A range of IOVAs that is mapped (kernel: struct iopt_area). Bytes: without a page table nothing
 * need be aligned, and addresses may be any of 64 bits.
 */
export class Area {
  /** What devices see of it; null: it is not of whole pages, and no page table can have it. */
  mapping: Mapping | null = null;
  /** Pins that emulated devices have in it. */
  accesses = 0;
  /** Of those pins, what may not go on its own. */
  locks = 0;

  constructor(
    readonly iova: bigint,
    /** Bytes, at least 1. */
    readonly length: bigint,
    /** READ and WRITE. */
    readonly permission: number,
    readonly source: UserPages,
    /** Where it begins, in bytes from the source's first page. */
    readonly start: bigint,
  ) {}

  /** One more than its last address: 2^64 at most. */
  get end(): bigint {
    return this.iova + this.length;
  }

  /** Whether its edges and its place in the source are multiples of a power of two. */
  isAligned(alignment: bigint): boolean {
    return ((this.iova | this.length | this.start) & (alignment - 1n)) === 0n;
  }

  get isOfPages(): boolean {
    return this.isAligned(PAGE);
  }

  /** The first page of the source that it touches, and how many. */
  get firstPage(): number {
    return Number(this.start / PAGE);
  }

  get pages(): number {
    return Number((this.start + this.length + PAGE_MASK) / PAGE) - this.firstPage;
  }
}

/** The areas of an IOAS in order of IOVAs; they do not overlap. */
export class AreaIndex {
  private readonly areas: Area[] = [];

  get size(): number {
    return this.areas.length;
  }

  /** The area that covers an address, or else the first behind it, or null. */
  firstFrom(address: bigint): Area | null {
    return this.areas[this.place(address)] ?? null;
  }

  /** The first area that has an address in [first, end), or null. */
  firstIn(first: bigint, end: bigint): Area | null {
    const area = this.firstFrom(first);
    return area !== null && area.iova < end ? area : null;
  }

  /** Adds an area that overlaps none. */
  insert(area: Area): void {
    this.areas.splice(this.place(area.iova), 0, area);
  }

  remove(area: Area): void {
    this.areas.splice(this.place(area.iova), 1);
  }

  [Symbol.iterator](): IterableIterator<Area> {
    return this.areas.values();
  }

  /** Where the first area is that ends behind an address. */
  private place(address: bigint): number {
    const { areas } = this;
    let low = 0;
    let high = areas.length;
    // Mostly the next one lies behind all that there are.
    if (high === 0 || areas[high - 1]!.end <= address) return high;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (areas[middle]!.end <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
