/**
 * Numbers of the VFIO user interface (linux/vfio.h of Linux 6.1 to 7.2) and of what IOPF adds to it
 * (docs/iopf-abi.md).
 *
 * Request numbers are `_IO(';', 100 + n)`. Several numbers mean one thing on one kind of file and
 * another elsewhere.
 */

export const VFIO_API_VERSION = 0;
/** `;`, the second byte of VFIO's ioctl numbers. */
export const VFIO_TYPE = 0x3b;

const io = (n: number): number => VFIO_TYPE * 256 + 100 + n;

export const ContainerIoctl = {
  VFIO_GET_API_VERSION: io(0),
  VFIO_CHECK_EXTENSION: io(1),
  VFIO_SET_IOMMU: io(2),
} as const;

export const GroupIoctl = {
  VFIO_GROUP_GET_STATUS: io(3),
  VFIO_GROUP_SET_CONTAINER: io(4),
  VFIO_GROUP_UNSET_CONTAINER: io(5),
  VFIO_GROUP_GET_DEVICE_FD: io(6),
} as const;

export const DeviceIoctl = {
  VFIO_DEVICE_GET_INFO: io(7),
  VFIO_DEVICE_GET_REGION_INFO: io(8),
  VFIO_DEVICE_GET_IRQ_INFO: io(9),
  VFIO_DEVICE_SET_IRQS: io(10),
  VFIO_DEVICE_RESET: io(11),
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO: io(12),
  VFIO_DEVICE_PCI_HOT_RESET: io(13),
  VFIO_DEVICE_QUERY_GFX_PLANE: io(14),
  VFIO_DEVICE_GET_GFX_DMABUF: io(15),
  VFIO_DEVICE_IOEVENTFD: io(16),
  VFIO_DEVICE_FEATURE: io(17),
} as const;

/** What a device's own file answers beside these. */
export const CdevIoctl = {
  VFIO_DEVICE_BIND_IOMMUFD: io(18),
  VFIO_DEVICE_ATTACH_IOMMUFD_PT: io(19),
  VFIO_DEVICE_DETACH_IOMMUFD_PT: io(20),
} as const;

export const VFIO_DEVICE_ATTACH_PASID = 1;

/** Of a hot reset's list: devices are named by ids of their iommufd; all are its own. */
export const HotResetInfoFlag = {
  VFIO_PCI_HOT_RESET_FLAG_DEV_ID: 1,
  VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED: 2,
} as const;
/** In place of an id: not bound itself, but another of its group; or nobody's here. */
export const VFIO_PCI_DEVID_OWNED = 0;
export const VFIO_PCI_DEVID_NOT_OWNED = 0xffffffff;

export const Type1Ioctl = {
  VFIO_IOMMU_GET_INFO: io(12),
  VFIO_IOMMU_MAP_DMA: io(13),
  VFIO_IOMMU_UNMAP_DMA: io(14),
  VFIO_IOMMU_ENABLE: io(15),
  VFIO_IOMMU_DISABLE: io(16),
  VFIO_IOMMU_DIRTY_PAGES: io(17),
} as const;

/** What IOPF adds to a container; visible only where IOPF is not off. */
export const IopfIoctl = {
  VFIO_IOMMU_ENABLE_IOPF: io(18),
  VFIO_IOMMU_DISABLE_IOPF: io(19),
  /**
   * On a container with stages: makes a first stage and returns the descriptor of its fault queue.
   */
  VFIO_IOMMU_STAGE1_ALLOC: io(24),
} as const;

/** What IOPF adds to a device file: its accesses go through a first stage, or no longer. */
export const Stage1DeviceIoctl = {
  VFIO_DEVICE_ATTACH_STAGE1: io(25),
  VFIO_DEVICE_DETACH_STAGE1: io(26),
} as const;

/** What the descriptor of a first stage's fault queue answers. */
export const Stage1Ioctl = { VFIO_STAGE1_INVALIDATE: io(27) } as const;

/** Arguments of VFIO_CHECK_EXTENSION and VFIO_SET_IOMMU. */
export const VfioExtension = {
  VFIO_TYPE1_IOMMU: 1,
  VFIO_SPAPR_TCE_IOMMU: 2,
  VFIO_TYPE1v2_IOMMU: 3,
  VFIO_DMA_CC_IOMMU: 4,
  VFIO_EEH: 5,
  VFIO_TYPE1_NESTING_IOMMU: 6,
  VFIO_SPAPR_TCE_v2_IOMMU: 7,
  VFIO_NOIOMMU_IOMMU: 8,
  VFIO_UNMAP_ALL: 9,
  VFIO_UPDATE_VADDR: 10,
  /** IOPF's own. */
  VFIO_IOPF: 11,
} as const;

export const GroupFlag = {
  VFIO_GROUP_FLAGS_VIABLE: 1,
  VFIO_GROUP_FLAGS_CONTAINER_SET: 2,
} as const;

export const DeviceFlag = {
  VFIO_DEVICE_FLAGS_RESET: 1,
  VFIO_DEVICE_FLAGS_PCI: 2,
  VFIO_DEVICE_FLAGS_PLATFORM: 4,
  VFIO_DEVICE_FLAGS_AMBA: 8,
  VFIO_DEVICE_FLAGS_CCW: 16,
  VFIO_DEVICE_FLAGS_AP: 32,
  VFIO_DEVICE_FLAGS_FSL_MC: 64,
  VFIO_DEVICE_FLAGS_CAPS: 128,
} as const;

export const RegionFlag = {
  VFIO_REGION_INFO_FLAG_READ: 1,
  VFIO_REGION_INFO_FLAG_WRITE: 2,
  VFIO_REGION_INFO_FLAG_MMAP: 4,
  VFIO_REGION_INFO_FLAG_CAPS: 8,
} as const;

/** Ids in a region's capability chain. */
export const RegionCapability = {
  VFIO_REGION_INFO_CAP_SPARSE_MMAP: 1,
  VFIO_REGION_INFO_CAP_TYPE: 2,
  VFIO_REGION_INFO_CAP_MSIX_MAPPABLE: 3,
} as const;

export const IrqInfoFlag = {
  VFIO_IRQ_INFO_EVENTFD: 1,
  VFIO_IRQ_INFO_MASKABLE: 2,
  VFIO_IRQ_INFO_AUTOMASKED: 4,
  VFIO_IRQ_INFO_NORESIZE: 8,
} as const;

export const IrqSetFlag = {
  VFIO_IRQ_SET_DATA_NONE: 1,
  VFIO_IRQ_SET_DATA_BOOL: 2,
  VFIO_IRQ_SET_DATA_EVENTFD: 4,
  VFIO_IRQ_SET_ACTION_MASK: 8,
  VFIO_IRQ_SET_ACTION_UNMASK: 16,
  VFIO_IRQ_SET_ACTION_TRIGGER: 32,
} as const;

/** Fields of VFIO_IRQ_SET's flags: one data type, one action. */
export const VFIO_IRQ_SET_DATA_TYPE_MASK = 7;
export const VFIO_IRQ_SET_ACTION_TYPE_MASK = 56;

export const IommuInfoFlag = {
  VFIO_IOMMU_INFO_PGSIZES: 1,
  VFIO_IOMMU_INFO_CAPS: 2,
} as const;

/** Ids in the capability chain of VFIO_IOMMU_GET_INFO. */
export const IommuInfoCapability = {
  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE: 1,
  VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION: 2,
  VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL: 3,
  /** IOPF's own. */
  VFIO_IOMMU_TYPE1_INFO_CAP_IOPF: 4,
} as const;

/** Bits of the IOPF capability's flags. */
export const IopfCapabilityFlag = {
  ENABLED: 1,
  ALL_DEVICES: 2,
} as const;

export const DmaMapFlag = {
  VFIO_DMA_MAP_FLAG_READ: 1,
  VFIO_DMA_MAP_FLAG_WRITE: 2,
  VFIO_DMA_MAP_FLAG_VADDR: 4,
  /** IOPF's own: pinned now, never faults (R7.2). */
  VFIO_DMA_MAP_FLAG_PINNED: 8,
} as const;

export const DmaUnmapFlag = {
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP: 1,
  VFIO_DMA_UNMAP_FLAG_ALL: 2,
  VFIO_DMA_UNMAP_FLAG_VADDR: 4,
} as const;

export const DirtyPagesFlag = {
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START: 1,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP: 2,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP: 4,
} as const;

/** Flags of VFIO_DEVICE_FEATURE; the low half of the field is the feature. */
export const DeviceFeatureFlag = {
  VFIO_DEVICE_FEATURE_GET: 0x10000,
  VFIO_DEVICE_FEATURE_SET: 0x20000,
  VFIO_DEVICE_FEATURE_PROBE: 0x40000,
} as const;

export const VFIO_DEVICE_FEATURE_MASK = 0xffff;

/** A region's file offset is its index times this (vfio-pci). */
const REGION_OFFSET_SHIFT = 40;
export const REGION_OFFSET = 2 ** REGION_OFFSET_SHIFT;
