/**
 * Structs of linux/iommufd.h, one table each: those of /dev/iommu's calls, whose first field is
 * their size, and what first stages share with iommufd (tables, invalidations, fault records).
 */
import {
  HwInfoFlag,
  HwptAllocFlag,
  HwptPgfaultFlag,
  IoasMapFlag,
  IommuHwCapability,
} from './iommufd.js';
import { flags32, s32, structLayout, u8, u16, u32, u64 } from './layout.js';

export const Destroy = structLayout('iommu_destroy', { size: u32, id: u32 });

export const IoasAlloc = structLayout('iommu_ioas_alloc', {
  size: u32,
  flags: u32,
  out_ioas_id: u32,
});

/** An IOVA range of the two calls below: first and last address. */
export const IovaRangeStruct = structLayout('iommu_iova_range', { start: u64, last: u64 });

export const IoasIovaRanges = structLayout('iommu_ioas_iova_ranges', {
  size: u32,
  ioas_id: u32,
  num_iovas: u32,
  __reserved: u32,
  allowed_iovas: u64,
  out_iova_alignment: u64,
});

export const IoasAllowIovas = structLayout('iommu_ioas_allow_iovas', {
  size: u32,
  ioas_id: u32,
  num_iovas: u32,
  __reserved: u32,
  allowed_iovas: u64,
});

export const IoasMap = structLayout('iommu_ioas_map', {
  size: u32,
  flags: flags32(IoasMapFlag),
  ioas_id: u32,
  __reserved: u32,
  user_va: u64,
  length: u64,
  iova: u64,
});

/** `start` is in bytes of the file. */
export const IoasMapFile = structLayout('iommu_ioas_map_file', {
  size: u32,
  flags: flags32(IoasMapFlag),
  ioas_id: u32,
  fd: s32,
  start: u64,
  length: u64,
  iova: u64,
});

export const IoasCopy = structLayout('iommu_ioas_copy', {
  size: u32,
  flags: flags32(IoasMapFlag),
  dst_ioas_id: u32,
  src_ioas_id: u32,
  length: u64,
  dst_iova: u64,
  src_iova: u64,
});

export const IoasUnmap = structLayout('iommu_ioas_unmap', {
  size: u32,
  ioas_id: u32,
  iova: u64,
  length: u64,
});

export const Option = structLayout('iommu_option', {
  size: u32,
  option_id: u32,
  op: u16,
  __reserved: u16,
  object_id: u32,
  val64: u64,
});

export const VfioIoas = structLayout('iommu_vfio_ioas', {
  size: u32,
  ioas_id: u32,
  op: u16,
  __reserved: u16,
});

export const HwptAlloc = structLayout('iommu_hwpt_alloc', {
  size: u32,
  flags: flags32(HwptAllocFlag),
  dev_id: u32,
  pt_id: u32,
  out_hwpt_id: u32,
  __reserved: u32,
  data_type: u32,
  data_len: u32,
  data_uptr: u64,
  fault_id: u32,
  __reserved2: u32,
});

/** `out_data_type` is `in_data_type` where the flag says so. */
export const HwInfo = structLayout('iommu_hw_info', {
  size: u32,
  flags: flags32(HwInfoFlag),
  dev_id: u32,
  data_len: u32,
  data_uptr: u64,
  out_data_type: u32,
  out_max_pasid_log2: u8,
  __reserved0: u8,
  __reserved1: u8,
  __reserved2: u8,
  out_capabilities: { ...u64, bits: IommuHwCapability },
});

/** Data of IOMMU_HW_INFO_TYPE_INTEL_VTD. */
export const HwInfoVtd = structLayout('iommu_hw_info_vtd', {
  flags: u32,
  __reserved: u32,
  cap_reg: u64,
  ecap_reg: u64,
});

export const HwptSetDirtyTracking = structLayout('iommu_hwpt_set_dirty_tracking', {
  size: u32,
  flags: u32,
  hwpt_id: u32,
  __reserved: u32,
});

export const HwptGetDirtyBitmap = structLayout('iommu_hwpt_get_dirty_bitmap', {
  size: u32,
  hwpt_id: u32,
  flags: u32,
  __reserved: u32,
  iova: u64,
  length: u64,
  page_size: u64,
  data: u64,
});

export const HwptInvalidate = structLayout('iommu_hwpt_invalidate', {
  size: u32,
  hwpt_id: u32,
  data_uptr: u64,
  data_type: u32,
  entry_len: u32,
  entry_num: u32,
  __reserved: u32,
});

export const FaultAlloc = structLayout('iommu_fault_alloc', {
  size: u32,
  flags: u32,
  out_fault_id: u32,
  out_fault_fd: u32,
});

export const ViommuAlloc = structLayout('iommu_viommu_alloc', {
  size: u32,
  flags: u32,
  type: u32,
  dev_id: u32,
  hwpt_id: u32,
  out_viommu_id: u32,
  data_len: u32,
  __reserved: u32,
  data_uptr: u64,
});

export const VdeviceAlloc = structLayout('iommu_vdevice_alloc', {
  size: u32,
  viommu_id: u32,
  dev_id: u32,
  out_vdevice_id: u32,
  virt_id: u64,
});

export const IoasChangeProcess = structLayout('iommu_ioas_change_process', {
  size: u32,
  __reserved: u32,
});

export const VeventqAlloc = structLayout('iommu_veventq_alloc', {
  size: u32,
  flags: u32,
  viommu_id: u32,
  type: u32,
  veventq_depth: u32,
  out_veventq_id: u32,
  out_veventq_fd: u32,
  __reserved: u32,
});

/** Before each event of a virtual IOMMU that is read. */
export const VeventHeader = structLayout('iommufd_vevent_header', { flags: u32, sequence: u32 });
export const VeventqFlag = { IOMMU_VEVENTQ_FLAG_LOST_EVENTS: 1 } as const;

export const HwQueueAlloc = structLayout('iommu_hw_queue_alloc', {
  size: u32,
  flags: u32,
  viommu_id: u32,
  type: u32,
  index: u32,
  out_hw_queue_id: u32,
  nesting_parent_iova: u64,
  length: u64,
});

/**
 * A page request as it is read; `perm` is READ 1, WRITE 2, EXEC 4, PRIV 8, and `addr` is in bytes.
 */
export const HwptPgfault = structLayout('iommu_hwpt_pgfault', {
  flags: flags32(HwptPgfaultFlag),
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

/**
 * A first-level table of VT-d: where its root is (bytes, in the space's IOVAs) and how wide an
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
