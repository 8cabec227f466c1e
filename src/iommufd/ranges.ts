/**
 * IOVA ranges of an IOAS that no map may touch, or that the kernel chooses IOVAs from (kernel:
 * reserved_itree and allowed_itree of struct io_pagetable).
 */
import { PAGE_SIZE } from '../mm/address-space.js';

/** Bytes of a page, for addresses of 64 bits. */
export const PAGE = BigInt(PAGE_SIZE);
/** All of 64 bits: one more than the last address. */
export const ADDRESS_END = 1n << 64n;

/** Addresses [first, end) in bytes. */
export interface ByteRange {
  readonly first: bigint;
  readonly end: bigint;
}

interface Owned extends ByteRange {
  /** Who keeps it away: a device, or a page table. */
  readonly owner: object;
}

export class ReservedRanges {
  private readonly ranges: Owned[] = [];

  add(range: ByteRange, owner: object): void {
    this.ranges.push({ ...range, owner });
  }

  /** All that an owner has kept away is free again, but for what others do. */
  removeOwner(owner: object): void {
    for (let i = this.ranges.length - 1; i >= 0; i--)
      if (this.ranges[i]!.owner === owner) this.ranges.splice(i, 1);
  }

  overlaps(range: ByteRange): boolean {
    return this.ranges.some((each) => overlap(each, range));
  }

  /** What is not reserved of a range, in order. */
  gaps(range: ByteRange): ByteRange[] {
    return gapsBetween(this.ranges, range);
  }
}

/** What ranges, which may overlap, leave of another one, in order. */
export function gapsBetween(ranges: readonly ByteRange[], { first, end }: ByteRange): ByteRange[] {
  const gaps: ByteRange[] = [];
  const sorted = [...ranges].sort((a, b) => (a.first < b.first ? -1 : 1));
  let at = first;
  for (const range of sorted) {
    if (range.first >= end) break;
    if (range.first > at) gaps.push({ first: at, end: range.first });
    if (range.end > at) at = range.end;
  }
  if (at < end) gaps.push({ first: at, end });
  return gaps;
}

export function overlap(a: ByteRange, b: ByteRange): boolean {
  return a.first < b.end && b.first < a.end;
}
