/**
 * Numbers and structs of the interface that only iommufd's own tests need (kernel:
 * drivers/iommu/iommufd/iommufd_test.h of Linux 7.2).
 */
import { IOMMUFD_CMD_BASE, IOMMUFD_TYPE } from './iommufd.js';
import { type Field, type StructLayout, s32, structLayout, u32, u64 } from './layout.js';

/** Its number is the last of the table where it is there. */
export const IOMMUFD_CMD_TEST = IOMMUFD_CMD_BASE + 32;
export const IOMMU_TEST_CMD = IOMMUFD_TYPE * 256 + IOMMUFD_CMD_TEST;

export const TestOp = {
  ADD_RESERVED: 1,
  MOCK_DOMAIN: 2,
  MD_CHECK_MAP: 3,
  MD_CHECK_REFS: 4,
  CREATE_ACCESS: 5,
  DESTROY_ACCESS_PAGES: 6,
  ACCESS_PAGES: 7,
  ACCESS_RW: 8,
  SET_TEMP_MEMORY_LIMIT: 9,
  MOCK_DOMAIN_REPLACE: 10,
  ACCESS_REPLACE_IOAS: 11,
  MOCK_DOMAIN_FLAGS: 12,
  DIRTY: 13,
  MD_CHECK_IOTLB: 14,
  TRIGGER_IOPF: 15,
  DEV_CHECK_CACHE: 16,
  TRIGGER_VEVENT: 17,
  PASID_ATTACH: 18,
  PASID_REPLACE: 19,
  PASID_DETACH: 20,
  PASID_CHECK_HWPT: 21,
  DMABUF_GET: 22,
  DMABUF_REVOKE: 23,
} as const;

/** The last one of each kernel (src/abi/kernel.ts). */
export const TEST_OP_LAST_612: number = TestOp.TRIGGER_IOPF;
export const TEST_OP_LAST_72: number = TestOp.DMABUF_REVOKE;

/** The mock IOMMU: its aperture, the smallest entry, the entry of its huge page tables. */
export const MOCK_APERTURE = { first: 1n << 24n, end: 1n << 31n } as const;
export const MOCK_PAGE_SIZE = 2048;
export const MOCK_HUGE_PAGE_SIZE = 512 * MOCK_PAGE_SIZE;
export const MOCK_PASID_BITS = 20;
/** Attaching it fails every second time: what comes after a failure can be tested. */
export const PASID_RESERVED = 1024;

export const MockPageTable = { DEFAULT: 0, HUGE: 1 } as const;
/** HUGE_IOVA: of older kernels. */
export const MockDevice = { NO_DIRTY: 1, HUGE_IOVA: 2, PASID: 4 } as const;
export const MockAccess = {
  CREATE_NEEDS_PIN_PAGES: 1,
  WRITE: 1,
  RW_SLOW_PATH: 4,
  /** An IOVA is the number of an area and an offset in it. */
  SYZ: 1 << 16,
} as const;

/** Entries of a nested page table's IOTLB, and of a device's cache. */
export const MOCK_CACHE_ENTRIES = 4;
export const MOCK_DEVICE_CACHE_DEFAULT = 0xbaddad;
export const MOCK_HW_QUEUES = 2;
/** Flag of an invalidation: every entry. */
export const MOCK_INVALIDATE_ALL = 1;

/** Types that the mock IOMMU has of everything that has types. */
export const SelftestType = {
  HW_INFO: 0xfeed_beef,
  HWPT_DATA: 0xdead,
  HWPT_INVALIDATE: 0xdead_beef,
  VIOMMU: 0xdead_beef,
  VIOMMU_INVALIDATE: 0xdead_beef,
  VEVENTQ: 0xbeef_beef,
  HW_QUEUE: 0xdead_beef,
} as const;
export const HW_INFO_SELFTEST_REGISTER = 0xdead_beef;

/** struct iommu_test_cmd: what is common to all, and its size. */
export const TestCmd = { size: 72, end: { last: 68 } } as const;

function command<N extends string>(
  name: string,
  fields: Readonly<Record<N, Field>>,
): StructLayout<N | 'size' | 'op' | 'id' | '__reserved'> {
  const head = { size: u32, op: u32, id: u32, __reserved: u32 };
  return structLayout(name, { ...head, ...fields } as Record<
    N | 'size' | 'op' | 'id' | '__reserved',
    Field
  >);
}

export const AddReserved = command('add_reserved', { start: u64, length: u64 });
export const MockDomain = command('mock_domain', {
  out_stdev_id: u32,
  out_hwpt_id: u32,
  out_idev_id: u32,
  dev_flags: u32,
});
export const MockDomainReplace = command('mock_domain_replace', { pt_id: u32 });
export const CheckMap = command('check_map', { iova: u64, length: u64, uptr: u64 });
export const CheckRefs = command('check_refs', { length: u64, uptr: u64, refs: u32 });
export const CreateAccess = command('create_access', { out_access_fd: u32, flags: u32 });
export const DestroyAccessPages = command('destroy_access_pages', { access_pages_id: u32 });
export const AccessPages = command('access_pages', {
  flags: u32,
  out_access_pages_id: u32,
  iova: u64,
  length: u64,
  uptr: u64,
});
export const AccessRw = command('access_rw', { iova: u64, length: u64, uptr: u64, flags: u32 });
export const MemoryLimit = command('memory_limit', { limit: u32 });
export const AccessReplaceIoas = command('access_replace_ioas', { ioas_id: u32 });
export const TestDirty = command('dirty', {
  flags: u32,
  iova: u64,
  length: u64,
  page_size: u64,
  uptr: u64,
  out_nr_dirty: u64,
});
export const CheckIotlb = command('check_iotlb', { entry: u32, iotlb: u32 });
export const TriggerIopf = command('trigger_iopf', {
  dev_id: u32,
  pasid: u32,
  grpid: u32,
  perm: u32,
  addr: u64,
});
export const CheckDevCache = command('check_dev_cache', { entry: u32, cache: u32 });
export const TriggerVevent = command('trigger_vevent', { dev_id: u32 });
/** PASID_ATTACH, PASID_REPLACE, PASID_DETACH (without the page table), PASID_CHECK_HWPT. */
export const PasidCmd = command('pasid', { pasid: u32, pt_id: u32 });
export const DmabufGet = command('dmabuf_get', { length: u32, open_flags: u32 });
export const DmabufRevoke = command('dmabuf_revoke', { dmabuf_fd: s32, revoked: u32 });

export const SelftestHwInfo = structLayout('iommu_test_hw_info', { flags: u32, test_reg: u32 });
export const SelftestHwpt = structLayout('iommu_hwpt_selftest', {
  iotlb: u32,
  pagetable_type: u32,
});
export const SelftestInvalidate = structLayout('iommu_hwpt_invalidate_selftest', {
  flags: u32,
  iotlb_id: u32,
});
export const SelftestViommu = structLayout('iommu_viommu_selftest', {
  in_data: u32,
  out_data: u32,
  out_mmap_offset: u64,
  out_mmap_length: u64,
});
export const SelftestViommuInvalidate = structLayout('iommu_viommu_invalidate_selftest', {
  flags: u32,
  vdev_id: u32,
  cache_id: u32,
});
