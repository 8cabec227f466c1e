/**
 * Where Linux versions differ: one table that names each behaviour that changed and where each
 * kernel stands.
 *
 * The code reads the row at the one point where the behaviour shows. The facts are those of the
 * recorded vectors.
 */

import { IOMMUFD_CMD_LAST_72, IOMMUFD_CMD_LAST_612 } from './iommufd.js';
import { TEST_OP_LAST_72, TEST_OP_LAST_612 } from './iommufd-test.js';

export const kernelVersions = ['6.1', '6.12', '7.2'] as const;
export type KernelVersion = (typeof kernelVersions)[number];

/** What a program gets when it names none. */
export const DEFAULT_KERNEL: KernelVersion = '6.12';

type Behaviour<T> = Readonly<Record<KernelVersion, T>>;

const row = <T>(from61: T, from612: T, from72: T): Behaviour<T> => ({
  '6.1': from61,
  '6.12': from612,
  '7.2': from72,
});

const kernelBehaviours = {
  /** The answer of SET_CONTAINER with a descriptor that is no container. */
  notAContainer: row<'EINVAL' | 'EBADFD'>('EINVAL', 'EBADFD', 'EBADFD'),
  /** Each capability of an info chain begins at a multiple of this many bytes. */
  capabilityAlignment: row(1, 8, 8),
  /** The info structs are copied out with their padding, where argsz has room for it. */
  infoPadding: row(false, true, true),
  /**
   * VFIO_TYPE1_NESTING_IOMMU is an extension; no IOMMU of the recordings can do it, and with IOPF
   * off none here.
   */
  nestingType: row(true, true, false),
  /** The answer where iova + size or vaddr + size leaves 64 bits. */
  wrap: row<'EINVAL' | 'EOVERFLOW'>('EINVAL', 'EINVAL', 'EOVERFLOW'),
  /** A range may end at 2^64: UNMAP_DMA then takes what lies in it, where others find nothing. */
  rangeToTheEnd: row(false, false, true),
  /**
   * A page that was never written is pinned and accounted as a page of its own; before, the shared
   * zero page was used.
   */
  zeroPageUnshared: row(false, true, true),
  /**
   * Pages of a shared mapping of a file whose file system keeps track of what is dirty (all but
   * tmpfs and hugetlbfs) are pinned for writing; since 6.5 that is EFAULT.
   */
  pinsDirtyFiles: row(true, false, false),
  /** The widest access that a read or write of a BAR is cut into, in bytes. */
  barAccess: row(4, 8, 8),
  /** MSI-X vectors can be armed one by one after others are on. */
  dynamicMsix: row(false, true, true),
  /**
   * PCI_HOT_RESET without group descriptors is refused before it is asked whether a reset is
   * possible.
   */
  hotResetNeedsGroups: row(false, true, true),
  /**
   * VT-d lets a device read what is pinned for writing alone: its page-table entries always have
   * the read bit.
   */
  pinnedIsReadable: row(true, true, false),
  /** VFIO_DEVICE_FEATURE_DMA_BUF is a feature of every PCI device. */
  dmaBufFeature: row(false, false, true),
  /**
   * VFIO_DEVICE_BIND_IOMMUFD looks at what lies behind its struct, which must be 0, and ATTACH and
   * DETACH know PASIDs.
   */
  cdevGrows: row(false, false, true),
  /** IOMMU_GET_HW_INFO may ask for one type, and tells that a device has no ATS. */
  hwInfoInput: row(false, false, true),
  /** IOMMU_HWPT_INVALIDATE looks at its arguments before it looks for the page table. */
  invalidateChecksFirst: row(false, false, true),
  /** A map that is as long as all of 64 bits is EINVAL before it is asked whether it wraps. */
  mapLengthFirst: row(false, true, false),
  /** The answer of mmap(2) of an iommufd in which there is nothing to map. */
  iommufdMmap: row<'ENODEV' | 'ENXIO'>('ENODEV', 'ENODEV', 'ENXIO'),
  /** Memory that devices may neither read nor write can be in a page table. */
  mapsNoAccess: row(false, true, false),
  /** A page table that is not nested may have a fault queue. */
  faultQueueOfPaging: row(false, false, true),
  /** The last number of /dev/iommu's table of calls; 0: there is none. */
  iommufdLast: row(0, IOMMUFD_CMD_LAST_612, IOMMUFD_CMD_LAST_72),
  /** The last operation of the interface of iommufd's own tests (IOMMU_TEST_CMD). */
  testOpLast: row(0, TEST_OP_LAST_612, TEST_OP_LAST_72),
  /**
   * The page tables of iommufd's mock IOMMU have entries of every power of two from 2 KiB on, come
   * in kinds, and remember what was written when a log ends.
   */
  genericMockTables: row(false, false, true),
  /** vfio_virqfd is a module of its own; then it became part of vfio. */
  virqfdModule: row(true, false, false),
} as const;

export type KernelProfile = {
  readonly [K in keyof typeof kernelBehaviours]: (typeof kernelBehaviours)[K] extends Behaviour<
    infer T
  >
    ? T
    : never;
};

/** The column of the table for one kernel. */
export function kernelProfile(version: KernelVersion): KernelProfile {
  return Object.fromEntries(
    Object.entries(kernelBehaviours).map(([name, behaviour]) => [name, behaviour[version]]),
  ) as unknown as KernelProfile;
}
