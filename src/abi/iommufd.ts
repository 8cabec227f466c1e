/**
 * Numbers of the iommufd user interface (linux/iommufd.h of Linux 6.12 and 7.2).
 *
 * Request numbers are `_IO(';', nr)`; their structs are in iommufd-structs.ts.
 */

/** The letter of all requests. */
export const IOMMUFD_TYPE = 0x3b;

const io = (nr: number): number => IOMMUFD_TYPE * 256 + nr;

export const IommufdIoctl = {
  IOMMU_DESTROY: io(0x80),
  IOMMU_IOAS_ALLOC: io(0x81),
  IOMMU_IOAS_ALLOW_IOVAS: io(0x82),
  IOMMU_IOAS_COPY: io(0x83),
  IOMMU_IOAS_IOVA_RANGES: io(0x84),
  IOMMU_IOAS_MAP: io(0x85),
  IOMMU_IOAS_UNMAP: io(0x86),
  IOMMU_OPTION: io(0x87),
  IOMMU_VFIO_IOAS: io(0x88),
  IOMMU_HWPT_ALLOC: io(0x89),
  IOMMU_GET_HW_INFO: io(0x8a),
  IOMMU_HWPT_SET_DIRTY_TRACKING: io(0x8b),
  IOMMU_HWPT_GET_DIRTY_BITMAP: io(0x8c),
  IOMMU_HWPT_INVALIDATE: io(0x8d),
  IOMMU_FAULT_QUEUE_ALLOC: io(0x8e),
  IOMMU_IOAS_MAP_FILE: io(0x8f),
  IOMMU_VIOMMU_ALLOC: io(0x90),
  IOMMU_VDEVICE_ALLOC: io(0x91),
  IOMMU_IOAS_CHANGE_PROCESS: io(0x92),
  IOMMU_VEVENTQ_ALLOC: io(0x93),
  IOMMU_HW_QUEUE_ALLOC: io(0x94),
} as const;

/** The table of calls begins here: lower numbers go to the calls of type1. */
export const IOMMUFD_CMD_BASE = 0x80;
/** The last number in use of each kernel's table (src/abi/kernel.ts). */
export const IOMMUFD_CMD_LAST_612 = 0x8e;
export const IOMMUFD_CMD_LAST_72 = 0x94;

export const IoasMapFlag = {
  IOMMU_IOAS_MAP_FIXED_IOVA: 1,
  IOMMU_IOAS_MAP_WRITEABLE: 2,
  IOMMU_IOAS_MAP_READABLE: 4,
} as const;

export const OptionId = {
  IOMMU_OPTION_RLIMIT_MODE: 0,
  IOMMU_OPTION_HUGE_PAGES: 1,
  /** IOPF's own, far from what Linux may number. */
  IOMMU_OPTION_IOPF: 0x8000_0000,
} as const;

export const OptionOp = {
  IOMMU_OPTION_OP_SET: 0,
  IOMMU_OPTION_OP_GET: 1,
} as const;

export const VfioIoasOp = {
  IOMMU_VFIO_IOAS_GET: 0,
  IOMMU_VFIO_IOAS_SET: 1,
  IOMMU_VFIO_IOAS_CLEAR: 2,
} as const;

export const HwptAllocFlag = {
  IOMMU_HWPT_ALLOC_NEST_PARENT: 1,
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING: 2,
  IOMMU_HWPT_FAULT_ID_VALID: 4,
  IOMMU_HWPT_ALLOC_PASID: 8,
} as const;

/** IOMMU_HWPT_DATA_NONE: a page table of the kernel's. */
export const HWPT_DATA_NONE = 0;
/** IOMMU_HWPT_DATA_VTD_S1: a first-level table of VT-d. */
export const HWPT_DATA_VTD_S1 = 1;

export const HwInfoFlag = { IOMMU_HW_INFO_FLAG_INPUT_TYPE: 1 } as const;
export const HW_INFO_TYPE_INTEL_VTD = 1;

export const IommuHwCapability = {
  IOMMU_HW_CAP_DIRTY_TRACKING: 1,
  IOMMU_HW_CAP_PCI_PASID_EXEC: 2,
  IOMMU_HW_CAP_PCI_PASID_PRIV: 4,
  IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED: 8,
} as const;

export const HWPT_DIRTY_TRACKING_ENABLE = 1;
export const HWPT_GET_DIRTY_BITMAP_NO_CLEAR = 1;

/** Flags of a record: its PASID counts; it is the last of its page request group. */
export const HwptPgfaultFlag = {
  IOMMU_PGFAULT_FLAGS_PASID_VALID: 1,
  IOMMU_PGFAULT_FLAGS_LAST_PAGE: 2,
} as const;

/** Supervisor requests, extended accessed flags, write protection: of a first-level table. */
export const VtdS1Flag = {
  IOMMU_VTD_S1_SRE: 1,
  IOMMU_VTD_S1_EAFE: 2,
  IOMMU_VTD_S1_WPE: 4,
} as const;

/** IOMMU_HWPT_INVALIDATE_DATA_VTD_S1: pages of a first-level table of VT-d. */
export const HWPT_INVALIDATE_DATA_VTD_S1 = 0;
/** Only the leaves of the table have changed. */
export const IOMMU_VTD_INV_FLAGS_LEAF = 1;
