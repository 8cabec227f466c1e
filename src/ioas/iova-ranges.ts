/**
 * Which IOVAs a container's IOMMUs can map (kernel: iommu->iova_list): what all can address,
 * without what any reserves.
 */
import { apertureEnd, type IommuProperties } from '../iommu/geometry.js';

/** Pages [first, end). */
export interface IovaRange {
  readonly first: number;
  readonly end: number;
}

/** The ranges that these IOMMUs have in common, in order. */
export function commonRanges(geometries: readonly IommuProperties[]): readonly IovaRange[] {
  if (geometries.length === 0) return [];
  let ranges: IovaRange[] = [{ first: 0, end: Math.min(...geometries.map(apertureEnd)) }];
  for (const geometry of geometries) {
    for (const region of geometry.reserved) {
      const hole = { first: region.firstPage, end: region.firstPage + region.pages };
      ranges = ranges.flatMap((range) => withoutHole(range, hole));
    }
  }
  return ranges;
}

/** Whether one range has all of [first, end). */
export function rangesCover(ranges: readonly IovaRange[], first: number, end: number): boolean {
  for (let i = 0; i < ranges.length; i++) {
    const range = ranges[i]!;
    if (first >= range.first && end <= range.end) return true;
  }
  return false;
}

function withoutHole(range: IovaRange, hole: IovaRange): IovaRange[] {
  if (hole.end <= range.first || hole.first >= range.end) return [range];
  const parts: IovaRange[] = [];
  if (hole.first > range.first) parts.push({ first: range.first, end: hole.first });
  if (hole.end < range.end) parts.push({ first: hole.end, end: range.end });
  return parts;
}
