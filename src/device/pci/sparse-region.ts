import type { PciRegion } from '../../vfio/pci-function.js';
import { gapsOf } from './region-gaps.js';

/** The region without its trapped parts: what is left can be mapped, and programs are told so. */
export function sparseRegion(region: PciRegion): PciRegion {
  const { trapped, ...rest } = region;
  if (trapped === undefined || !region.mappable) return region;
  const sparse = gapsOf(trapped, region.size);
  if (sparse.length > 0) return { ...rest, sparse };
  const { msixMappable: _, ...closed } = rest;
  return { ...closed, mappable: false, sparse };
}
