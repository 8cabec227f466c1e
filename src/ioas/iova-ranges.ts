/**
 * Which IOVAs the IOMMUs of a space can map (kernel: iommu->iova_list): what all can address,
 * without what any reserves.
 */
import { apertureEnd, type IommuProperties } from '../iommu/geometry.js';
import type { PageRange } from '../iommu/group.js';

/** The ranges that these IOMMUs have in common, in order. */
export function commonRanges(geometries: readonly IommuProperties[]): readonly PageRange[] {
  if (geometries.length === 0) return [];
  let ranges: PageRange[] = [{ first: 0, end: Math.min(...geometries.map(apertureEnd)) }];
  for (const geometry of geometries) {
    for (const region of geometry.reserved) {
      const hole = { first: region.firstPage, end: region.firstPage + region.pages };
      ranges = ranges.flatMap((range) => withoutHole(range, hole));
    }
  }
  return ranges;
}

/** Whether one range has all of [first, end). */
export function rangesCover(ranges: readonly PageRange[], first: number, end: number): boolean {
  for (let i = 0; i < ranges.length; i++) {
    const range = ranges[i]!;
    if (first >= range.first && end <= range.end) return true;
  }
  return false;
}

function withoutHole(range: PageRange, hole: PageRange): PageRange[] {
  if (hole.end <= range.first || hole.first >= range.end) return [range];
  const parts: PageRange[] = [];
  if (hole.first > range.first) parts.push({ first: range.first, end: hole.first });
  if (hole.end < range.end) parts.push({ first: hole.end, end: range.end });
  return parts;
}
