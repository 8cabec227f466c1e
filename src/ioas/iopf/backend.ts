import type { IommuDevice } from '../../iommu/device.js';
import type { Domain } from '../../iommu/domain.js';
import type { Counters } from '../../iommu/observer.js';
import type { DirtyLog } from '../dirty-log.js';
import type { Mapping } from '../mapping.js';
import type { MappingIndex } from '../mapping-index.js';

/** What the IOPF side of an I/O address space needs of it. */
export interface IopfBackend {
  readonly counters: Counters;
  /** Every domain of the space; changes with attach and detach. */
  readonly domains: readonly Domain[];
  readonly mappings: MappingIndex;
  /** The dirty logs that are on. */
  readonly logs: readonly DirtyLog[];
  /** The devices that are attached, in the order of domains, groups and devices. */
  devices(): readonly IommuDevice[];

  /**
   * Pins all pages of a mapping of which nothing is mapped, accounts them, and maps them in every
   * domain, as MAP_DMA does without IOPF. Throws VfioError (ENOMEM, EFAULT), and then nothing of it
   * is pinned, accounted or mapped. Sets `mapping.pinned` and counts pinned and resident pages
   * itself.
   */
  pinMapping(mapping: Mapping): void;
  /**
   * Drops the pins of a mapping and its accounting, and leaves its translations where they are.
   * Clears `mapping.pinned` and counts pinned pages; the pages stay resident.
   */
  unpinMapping(mapping: Mapping): void;
}
