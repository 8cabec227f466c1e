/**
 * Structs of linux/vfio.h, one table each. Arrays that follow a struct have a table for one
 * element.
 */

import { flags32, s32, structLayout, u8, u16, u32, u64 } from './layout.js';
import {
  DeviceFeatureFlag,
  DeviceFlag,
  DirtyPagesFlag,
  DmaMapFlag,
  DmaUnmapFlag,
  GroupFlag,
  IommuInfoFlag,
  IopfCapabilityFlag,
  IrqInfoFlag,
  IrqSetFlag,
  RegionFlag,
} from './vfio.js';

/**
 * Header of every capability in a chain; `next` is the offset of the next from the struct's start,
 * 0 for the last.
 */
export const InfoCapHeader = structLayout('vfio_info_cap_header', {
  id: u16,
  version: u16,
  next: u32,
});

/** VFIO_IOMMU_STAGE1_ALLOC; the table follows as `data_type` says (iommufd.ts). */
export const Stage1Alloc = structLayout('vfio_iommu_stage1_alloc', {
  argsz: u32,
  flags: u32,
  data_type: u32,
  data_len: u32,
});

/** VFIO_DEVICE_ATTACH_STAGE1; `out_dev_id` names the device in the queue's records. */
export const Stage1Attach = structLayout('vfio_device_attach_stage1', {
  argsz: u32,
  flags: u32,
  queue_fd: s32,
  out_dev_id: u32,
});

export const Stage1Detach = structLayout('vfio_device_detach_stage1', { argsz: u32, flags: u32 });

/** VFIO_STAGE1_INVALIDATE; an iommu_hwpt_vtd_s1_invalidate follows. */
export const Stage1Invalidate = structLayout('vfio_stage1_invalidate', { argsz: u32, flags: u32 });

export const GroupStatus = structLayout('vfio_group_status', {
  argsz: u32,
  flags: flags32(GroupFlag),
});

export const DeviceInfo = structLayout('vfio_device_info', {
  argsz: u32,
  flags: flags32(DeviceFlag),
  num_regions: u32,
  num_irqs: u32,
  cap_offset: u32,
  pad: u32,
});

export const DeviceBindIommufd = structLayout('vfio_device_bind_iommufd', {
  argsz: u32,
  flags: u32,
  iommufd: s32,
  out_devid: u32,
  token_uuid_ptr: u64,
});

export const DeviceAttachIommufdPt = structLayout('vfio_device_attach_iommufd_pt', {
  argsz: u32,
  flags: u32,
  pt_id: u32,
  pasid: u32,
});

export const DeviceDetachIommufdPt = structLayout('vfio_device_detach_iommufd_pt', {
  argsz: u32,
  flags: u32,
  pasid: u32,
});

export const RegionInfo = structLayout('vfio_region_info', {
  argsz: u32,
  flags: flags32(RegionFlag),
  index: u32,
  cap_offset: u32,
  size: u64,
  offset: u64,
});

/** VFIO_REGION_INFO_CAP_SPARSE_MMAP; areas follow. */
export const SparseMmapCap = structLayout('vfio_region_info_cap_sparse_mmap', {
  id: u16,
  version: u16,
  next: u32,
  nr_areas: u32,
  reserved: u32,
});
export const SparseMmapArea = structLayout('vfio_region_sparse_mmap_area', {
  offset: u64,
  size: u64,
});

export const IrqInfo = structLayout('vfio_irq_info', {
  argsz: u32,
  flags: flags32(IrqInfoFlag),
  index: u32,
  count: u32,
});

/** Data (nothing, bytes or descriptors) follows. */
export const IrqSet = structLayout('vfio_irq_set', {
  argsz: u32,
  flags: flags32(IrqSetFlag),
  index: u32,
  start: u32,
  count: u32,
});
export const IrqSetDescriptor = structLayout('int', { fd: s32 });

/** Dependent devices follow. */
export const PciHotResetInfo = structLayout('vfio_pci_hot_reset_info', {
  argsz: u32,
  flags: u32,
  count: u32,
});
export const PciDependentDevice = structLayout('vfio_pci_dependent_device', {
  group_id: u32,
  segment: u16,
  bus: u8,
  devfn: u8,
});

/** Group descriptors follow. */
export const PciHotReset = structLayout('vfio_pci_hot_reset', {
  argsz: u32,
  flags: u32,
  count: u32,
});

export const DeviceFeature = structLayout('vfio_device_feature', {
  argsz: u32,
  flags: flags32(DeviceFeatureFlag),
});

/** Follows `vfio_device_feature` for VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP. */
export const LowPowerWakeup = structLayout('vfio_device_low_power_entry_with_wakeup', {
  wakeup_eventfd: s32,
  reserved: u32,
});

/** Follows `vfio_device_feature` for VFIO_DEVICE_FEATURE_DMA_BUF; ranges follow it. */
export const DmaBufRequest = structLayout('vfio_device_feature_dma_buf', {
  region_index: u32,
  open_flags: u32,
  flags: u32,
  nr_ranges: u32,
});

export const DeviceIoeventfd = structLayout('vfio_device_ioeventfd', {
  argsz: u32,
  flags: u32,
  offset: u64,
  data: u64,
  fd: s32,
  reserved: u32,
});

/** Linux up to 6.1 ends the struct behind cap_offset; its sizeof is the same. */
export const IommuType1Info = structLayout('vfio_iommu_type1_info', {
  argsz: u32,
  flags: flags32(IommuInfoFlag),
  iova_pgsizes: u64,
  cap_offset: u32,
  pad: u32,
});

/** VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE; ranges follow. */
export const IovaRangeCap = structLayout('vfio_iommu_type1_info_cap_iova_range', {
  id: u16,
  version: u16,
  next: u32,
  nr_iovas: u32,
  reserved: u32,
});
/** Both ends belong to the range. */
export const IovaRangeEntry = structLayout('vfio_iova_range', { start: u64, end: u64 });

export const MigrationCap = structLayout('vfio_iommu_type1_info_cap_migration', {
  id: u16,
  version: u16,
  next: u32,
  flags: u32,
  pgsize_bitmap: u64,
  max_dirty_bitmap_size: u64,
});

export const DmaAvailCap = structLayout('vfio_iommu_type1_info_dma_avail', {
  id: u16,
  version: u16,
  next: u32,
  avail: u32,
});

/** IOPF's own capability (docs/iopf-abi.md). */
export const IopfCap = structLayout('vfio_iommu_type1_info_cap_iopf', {
  id: u16,
  version: u16,
  next: u32,
  flags: flags32(IopfCapabilityFlag),
  premap_pages: u32,
});

export const DmaMap = structLayout('vfio_iommu_type1_dma_map', {
  argsz: u32,
  flags: flags32(DmaMapFlag),
  vaddr: u64,
  iova: u64,
  size: u64,
});

/** With GET_DIRTY_BITMAP a `vfio_bitmap` follows. */
export const DmaUnmap = structLayout('vfio_iommu_type1_dma_unmap', {
  argsz: u32,
  flags: flags32(DmaUnmapFlag),
  iova: u64,
  size: u64,
});

/** `size` in bytes; `data` is a pointer. */
export const VfioBitmap = structLayout('vfio_bitmap', { pgsize: u64, size: u64, data: u64 });

export const DirtyBitmap = structLayout('vfio_iommu_type1_dirty_bitmap', {
  argsz: u32,
  flags: flags32(DirtyPagesFlag),
});

/** Follows `vfio_iommu_type1_dirty_bitmap` in a GET_BITMAP call. */
export const DirtyBitmapGet = structLayout('vfio_iommu_type1_dirty_bitmap_get', {
  iova: u64,
  size: u64,
  'bitmap.pgsize': u64,
  'bitmap.size': u64,
  'bitmap.data': u64,
});
