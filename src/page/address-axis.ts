/**
 * Addresses as a drawing has them. Address spaces are sparse (QEMU maps from 64 KiB up and from 512
 * GiB down), so what was never mapped is left out: the axis has segments, and a place on it counts
 * the pages of the segments before it.
 */

export interface Segment {
  /** First page, and pages. */
  readonly first: number;
  readonly pages: number;
  /** Place of its first page on the axis. */
  readonly at: number;
}

/** A part of a segment, to be asked for in so many rows. */
export interface Request {
  readonly first: number;
  readonly pages: number;
  readonly rows: number;
}

export const PAGES_END = 2 ** 36;
const SEGMENTS_MOST = 12;
/** A gap of less than this share of all that is shown is shown. */
const GAP_SHARE = 1 / 32;
/** Fewest pages that a view shows. */
const PAGES_LEAST = 8;

export class AddressAxis {
  segments: readonly Segment[] = [];
  /** Pages on the axis. */
  total = 0;
  /** What is shown: places, `to` excluded. */
  from = 0;
  to = 0;

  /** Takes ranges in, [first page, pages]. True: the axis has changed. */
  grow(ranges: readonly (readonly [number, number])[]): boolean {
    const outside = ranges.filter(([first, pages]) => pages > 0 && !this.holds(first, pages));
    if (outside.length === 0) return false;
    const whole = this.isWhole;
    const [first, last] = [this.pageAt(this.from), this.pageAt(this.to - 1)];
    const known = this.segments.map(({ first, pages }): Range => [first, first + pages]);
    this.lay(merge([...known, ...outside.map(([page, pages]) => roundOut(page, page + pages))]));
    if (whole) this.showAll();
    else {
      this.from = this.placeOf(first);
      this.to = Math.min(this.total, this.placeOf(last) + 1);
    }
    return true;
  }

  get isWhole(): boolean {
    return this.from <= 0 && this.to >= this.total;
  }

  get shown(): number {
    return this.to - this.from;
  }

  showAll(): void {
    this.from = 0;
    this.to = this.total;
  }

  /** Shows [from, to) as far as there is something, and at least a few pages. */
  show(from: number, to: number): void {
    const least = Math.min(PAGES_LEAST, this.total);
    const pages = Math.min(this.total, Math.max(least, to - from));
    const middle = (from + to) / 2;
    this.from = Math.max(0, Math.min(this.total - pages, middle - pages / 2));
    this.to = this.from + pages;
  }

  /** Shows `factor` times as little, around a place. */
  zoom(factor: number, around: number): void {
    const share = (around - this.from) / this.shown;
    const pages = Math.max(Math.min(PAGES_LEAST, this.total), this.shown / factor);
    const from = around - share * pages;
    this.show(from, from + pages);
  }

  /** Moves by a share of what is shown. */
  pan(share: number): void {
    const by = Math.max(-this.from, Math.min(this.total - this.to, share * this.shown));
    this.from += by;
    this.to += by;
  }

  /** The page at a place. */
  pageAt(place: number): number {
    for (const { first, pages, at } of this.segments)
      if (place < at + pages) return first + Math.max(0, Math.floor(place - at));
    const end = this.segments.at(-1);
    return end === undefined ? 0 : end.first + end.pages - 1;
  }

  /** The place of a page; in a gap, where it would be. */
  placeOf(page: number): number {
    for (const { first, pages, at } of this.segments)
      if (page < first + pages) return at + Math.max(0, page - first);
    return this.total;
  }

  /** What is shown, in at most `rowsMost` rows of whole pages. */
  requests(rowsMost: number): Request[] {
    const parts: { first: number; pages: number }[] = [];
    for (const { first, pages, at } of this.segments) {
      const start = first + Math.max(0, Math.floor(this.from - at));
      const end = first + Math.min(pages, Math.ceil(this.to - at));
      if (end > start) parts.push({ first: start, pages: end - start });
    }
    const total = parts.reduce((sum, { pages }) => sum + pages, 0);
    const spare = rowsMost - parts.length;
    return parts.map((part) => ({
      ...part,
      rows: Math.min(part.pages, 1 + Math.floor((spare * part.pages) / total)),
    }));
  }

  private holds(first: number, pages: number): boolean {
    return this.segments.some(
      (each) => first >= each.first && first + pages <= each.first + each.pages,
    );
  }

  private lay(ranges: readonly Range[]): void {
    let at = 0;
    this.segments = ranges.map(([first, end]) => {
      const segment = { first, pages: end - first, at };
      at += end - first;
      return segment;
    });
    this.total = at;
  }
}

/** [first, end). */
type Range = readonly [number, number];

/** Outwards by at most an eighth, so that a range that grows does not move everything each time. */
function roundOut(first: number, end: number): Range {
  const step = Math.max(1, 2 ** Math.floor(Math.log2(end - first)) / 8);
  return [Math.floor(first / step) * step, Math.min(PAGES_END, Math.ceil(end / step) * step)];
}

/** Ranges in order, without small gaps, and not too many. */
function merge(ranges: readonly Range[]): Range[] {
  let merged: Range[] = [];
  for (const range of [...ranges].sort(([a], [b]) => a - b)) {
    const before = merged.at(-1);
    if (before !== undefined && range[0] <= before[1])
      merged[merged.length - 1] = [before[0], Math.max(before[1], range[1])];
    else merged.push(range);
  }
  for (;;) {
    const total = merged.reduce((sum, [first, end]) => sum + end - first, 0);
    let least = -1;
    for (let i = 1; i < merged.length; i++)
      if (
        least < 0 ||
        merged[i]![0] - merged[i - 1]![1] < merged[least]![0] - merged[least - 1]![1]
      )
        least = i;
    if (least < 0) return merged;
    const gap = merged[least]![0] - merged[least - 1]![1];
    if (merged.length <= SEGMENTS_MOST && gap > total * GAP_SHARE) return merged;
    const both: Range = [merged[least - 1]![0], merged[least]![1]];
    merged = [...merged.slice(0, least - 1), both, ...merged.slice(least + 1)];
  }
}
