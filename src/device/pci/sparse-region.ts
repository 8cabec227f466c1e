import type { PciRegion, RegionArea } from '../../vfio/pci-function.js';

/** The region without its trapped parts: what is left can be mapped, and programs are told so. */
export function sparseRegion(region: PciRegion): PciRegion {
  const { trapped, ...rest } = region;
  if (trapped === undefined || !region.mappable) return region;
  const sparse: RegionArea[] = [];
  let at = 0;
  for (const { offset, size } of [...trapped, { offset: region.size, size: 0 }]) {
    if (offset > at) sparse.push({ offset: at, size: offset - at });
    at = offset + size;
  }
  if (sparse.length > 0) return { ...rest, sparse };
  const { msixMappable: _, ...closed } = rest;
  return { ...closed, mappable: false, sparse };
}
