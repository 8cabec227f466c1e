/** What our stage-1 fault queues share with iommufd (linux/iommufd.h): the records that are read and written. */
import { structLayout, u32, u64 } from './layout.js';

/** Flags of a record: its PASID counts; it is the last of its page request group. */
export const HwptPgfaultFlag = {
  IOMMU_PGFAULT_FLAGS_PASID_VALID: 1,
  IOMMU_PGFAULT_FLAGS_LAST_PAGE: 2,
} as const;

/** A page request as it is read; `perm` is READ 1, WRITE 2, EXEC 4, PRIV 8, and `addr` is in bytes. */
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

/** An answer as it is written: the cookie of a page request group that was read, and SUCCESS 0 or INVALID 1. */
export const HwptPageResponse = structLayout('iommu_hwpt_page_response', { cookie: u32, code: u32 });
