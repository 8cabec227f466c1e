/** Pins of whole mappings (kernel: vfio_pin_map_dma, iopt_area_fill_domains). */
import type { Domain } from '../iommu/domain.js';
import type { Mapping } from './mapping.js';

/**
 * Pins all pages of a mapping, unless others hold them, and maps them in every domain. Returns how
 * many pages were pinned. EFAULT, ENOMEM; then nothing of it is left.
 */
export function pinWhole(mapping: Mapping, domains: readonly Domain[]): number {
  const pinned = mapping.source.pin(mapping.sourcePage, mapping.pages);
  for (const domain of domains) mapPins(mapping, domain);
  mapping.pinned = true;
  return pinned;
}

/** Unmaps a pinned mapping from every domain and drops its pins. Returns how many pages went. */
export function unpinWhole(mapping: Mapping, domains: readonly Domain[]): number {
  for (const domain of domains) domain.unmap(mapping.iovaPage, mapping.pages);
  return dropPins(mapping);
}

/** Drops the pins and leaves the translations (R5.8). Returns how many pages went. */
export function dropPins(mapping: Mapping): number {
  mapping.pinned = false;
  return mapping.source.unpin(mapping.sourcePage, mapping.pages);
}

/** Maps what is pinned in a domain (kernel: vfio_iommu_replay). */
export function mapPins(mapping: Mapping, domain: Domain): void {
  const { iovaPage, sourcePage, source, pages, permission } = mapping;
  for (const { first, frame, count } of source.pinnedRuns(sourcePage, pages))
    domain.map(iovaPage + first - sourcePage, frame, count, permission);
}
