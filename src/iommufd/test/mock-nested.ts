import { fail } from '../../abi/errno.js';
import {
  MOCK_CACHE_ENTRIES,
  MOCK_INVALIDATE_ALL,
  SelftestHwpt,
  SelftestInvalidate,
  SelftestType,
} from '../../abi/iommufd-test.js';
import type { KernelProfile } from '../../abi/kernel.js';
import type { NestedTable } from '../hwpt.js';
import { type InvalidationArray, invalidateEach } from '../invalidation.js';
import { copyUserData, type UserData } from '../iommu.js';
import type { MockViommu } from './viommu.js';

/** A nested page table of the mock IOMMU: an IOTLB of four entries, and nothing behind it. */
export class MockNested implements NestedTable {
  readonly isNested = true;
  private readonly iotlb: number[];

  private constructor(
    entry: number,
    /** Above which it was made; null: above a page table. */
    readonly viommu: MockViommu | null,
  ) {
    this.iotlb = new Array<number>(MOCK_CACHE_ENTRIES).fill(entry);
  }

  /** EOPNOTSUPP: other data; EINVAL, EFAULT, E2BIG. */
  static create(data: UserData, viommu: MockViommu | null, kernel: KernelProfile): MockNested {
    if (data.type !== SelftestType.HWPT_DATA) fail('EOPNOTSUPP');
    const { at, end } = SelftestHwpt;
    // The kind of a page table came later.
    const size = kernel.genericMockTables ? SelftestHwpt.size : end.iotlb;
    const config = copyUserData(data, SelftestType.HWPT_DATA, { size }, end.iotlb);
    return new MockNested(config.u32(at.iotlb), viommu);
  }

  /** MD_CHECK_IOTLB. EINVAL: an entry is another, or there is none. */
  check(entry: number, value: number): void {
    if (entry >= MOCK_CACHE_ENTRIES || this.iotlb[entry] !== value) fail('EINVAL');
  }

  /** IOMMU_HWPT_INVALIDATE; see `invalidateEach`. */
  invalidate(array: InvalidationArray): void {
    if (array.type !== SelftestType.HWPT_INVALIDATE) fail('EINVAL');
    const { at, end } = SelftestInvalidate;
    invalidateEach(array, SelftestInvalidate, end.iotlb_id, (entry) => {
      const flags = entry.u32(at.flags);
      const index = entry.u32(at.iotlb_id);
      if ((flags & ~MOCK_INVALIDATE_ALL) !== 0) fail('EOPNOTSUPP');
      if (index >= MOCK_CACHE_ENTRIES) fail('EINVAL');
      if (flags !== 0) this.iotlb.fill(0);
      else this.iotlb[index] = 0;
    });
  }
}
