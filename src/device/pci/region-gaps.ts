import type { RegionArea } from '../../vfio/pci-function.js';

/** The areas of [0, end) that lie between these, which ascend and do not overlap. */
export function gapsOf(areas: readonly RegionArea[], end: number): RegionArea[] {
  const gaps: RegionArea[] = [];
  let at = 0;
  for (const { offset, size } of [...areas, { offset: end, size: 0 }]) {
    if (offset > at) gaps.push({ offset: at, size: offset - at });
    at = offset + size;
  }
  return gaps;
}
