/**
 * What first stages share with iommufd (linux/iommufd.h): tables, invalidations, and the
 * records of fault queues.
 */
import { structLayout, u32, u64 } from './layout.js';

/** Flags of a record: its PASID counts; it is the last of its page request group. */
export const HwptPgfaultFlag = {
  IOMMU_PGFAULT_FLAGS_PASID_VALID: 1,
  IOMMU_PGFAULT_FLAGS_LAST_PAGE: 2,
} as const;

/**
 * A page request as it is read; `perm` is READ 1, WRITE 2, EXEC 4, PRIV 8, and `addr` is in bytes.
 */
export const HwptPgfault = structLayout('iommu_hwpt_pgfault', {
  flags: u32,
  dev_id: u32,
  pasid: u32,
  grpid: u32,
  perm: u32,
  reserved: u32,
  addr: u64,
  length: u32,
  cookie: u32,
});

/**
 * An answer as it is written: the cookie of a page request group that was read, and SUCCESS 0 or
 * INVALID 1.
 */
export const HwptPageResponse = structLayout('iommu_hwpt_page_response', {
  cookie: u32,
  code: u32,
});

/** IOMMU_HWPT_DATA_VTD_S1: a first-level table of VT-d. */
export const HWPT_DATA_VTD_S1 = 1;

/**
 * A first-level table: where its root is (bytes, in the container's IOVA space) and how wide an
 * address is (48).
 */
export const HwptVtdS1 = structLayout('iommu_hwpt_vtd_s1', {
  flags: u64,
  pgtbl_addr: u64,
  addr_width: u32,
  reserved: u32,
});

/**
 * What an invalidation is for: `npages` 4 KiB pages from `addr` on; address 0 and all ones:
 * everything.
 */
export const HwptVtdS1Invalidate = structLayout('iommu_hwpt_vtd_s1_invalidate', {
  addr: u64,
  npages: u64,
  flags: u32,
  hw_error: u32,
});

/** Only the leaves of the table have changed. */
export const IOMMU_VTD_INV_FLAGS_LEAF = 1;
