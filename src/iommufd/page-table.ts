import type { Area } from './area.js';
import type { Ioas } from './ioas.js';
import type { ByteRange } from './ranges.js';

/** A page table as its IOAS sees it (kernel: struct iommu_domain with its ops). */
export interface IoPageTable {
  /** Sizes of its entries: bit n for 2^n bytes (kernel: pgsize_bitmap). */
  readonly pageSizes: bigint;
  /** The addresses that it can have, in bytes (kernel: iommu_domain_geometry). */
  readonly aperture: ByteRange;
  /** No-snoop accesses are coherent (kernel: enforce_cache_coherency). */
  readonly isCoherent: boolean;
  /** Made with IOMMU_HWPT_ALLOC_DIRTY_TRACKING. */
  readonly tracksDirty: boolean;

  /**
   * Gets what is mapped in an IOAS, as far as that is pinned. EFAULT, ENOMEM: pinning; then nothing
   * has changed.
   */
  enter(ioas: Ioas): void;
  /** Leaves its IOAS, with no device behind it. */
  leave(ioas: Ioas): void;
  /** An area comes. EFAULT, ENOMEM; then nothing of it is there. */
  map(area: Area): void;
  unmap(area: Area): void;

  /** Begins a log, in which everything is clean, or ends it. */
  setLogging(on: boolean): void;
  /**
   * What was written of [first, end) of an area, in order; with `clear` it is clean afterwards.
   * Without a log nothing.
   */
  dirtyRanges(area: Area, first: bigint, end: bigint, clear: boolean): Iterable<ByteRange>;
}

/** Bytes of a page table's smallest entry. */
export function smallestEntry({ pageSizes }: IoPageTable): bigint {
  return pageSizes & -pageSizes;
}
