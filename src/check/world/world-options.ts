/** What a scenario's world is made of. */
/** A device of a scenario; each is alone in its group unless `group` says otherwise. */
export interface DeviceSpec {
  /** Can do page requests (default true). */
  readonly canFault?: boolean;
  /** A guest owns a first stage above the container's page table. */
  readonly nested?: boolean;
  /** IOMMU that maps contiguous pages as superpages by itself (R3.2). */
  readonly merges?: boolean;
  /** An IOMMU of its own, so that it gets a domain of its own. */
  readonly ownDomain?: boolean;
  /** Group number, from 1 on; default: the device's place. */
  readonly group?: number;
  /** In the container from the beginning (default true). */
  readonly attached?: boolean;
  /** Page request groups that may be pending. */
  readonly pendingGroups?: number;
}

/** Of `WorldOptions.pages`. */
export const DEFAULT_PAGES = 4;

export interface WorldOptions {
  readonly devices?: readonly DeviceSpec[];
  /** IOVA pages that the run is about, from `IOVA` on (default 4). */
  readonly pages?: number;
  /** Pages brought in per fault (default 1). */
  readonly premapPages?: number;
  /** Processes (default 1). */
  readonly processes?: number;
  /** Pages that a process may lock (default: no limit). */
  readonly lockLimitPages?: number;
  /** Pages in swap must be waited for. */
  readonly swapInWaits?: boolean;
  /** The programs' memory is made of 2 MiB pages; `pages` is 512 then. */
  readonly hugePages?: boolean;
  /**
   * Frames that there are (default: no limit); where they are used up, reclaim takes pages to swap.
   */
  readonly frames?: number;
  /**
   * The devices are not in a container but bound to an iommufd, attached to nothing: `auto`: with
   * IOPF, `off`: everything is pinned.
   */
  readonly iommufd?: 'auto' | 'off';
  /** IOPF is switched on before the run (default true). */
  readonly enabled?: boolean;
}
