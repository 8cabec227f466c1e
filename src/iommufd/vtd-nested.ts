/** First stages of guests above page tables of VT-d (kernel: drivers/iommu/intel/nested.c). */
import type { ArgumentBuffer } from '../abi/argument-buffer.js';
import { fail } from '../abi/errno.js';
import {
  HWPT_DATA_VTD_S1,
  HWPT_INVALIDATE_DATA_VTD_S1,
  IOMMU_VTD_INV_FLAGS_LEAF,
  VtdS1Flag,
} from '../abi/iommufd.js';
import { HwptVtdS1, HwptVtdS1Invalidate } from '../abi/iommufd-structs.js';
import type { IommuDevice } from '../iommu/device.js';
import type { Domain } from '../iommu/domain.js';
import type { FaultQueue } from '../iommu/fault-queue.js';
import { Stage1, type TableMemory } from '../iommu/stage1.js';
import type { NestedTable } from './hwpt.js';
import { type Invalidated, type InvalidationArray, invalidateEach } from './invalidation.js';
import { copyUserData, type UserData } from './iommu.js';

/** The width of a table of four levels, the only one that the IOMMU has. */
const FOUR_LEVELS = 48;
const ALL_PAGES = 0xffffffff;
/** Supervisor requests and extended accessed flags, which the IOMMU lacks. */
const ABSENT = VtdS1Flag.IOMMU_VTD_S1_SRE | VtdS1Flag.IOMMU_VTD_S1_EAFE;

export class VtdNested implements NestedTable, Invalidated {
  readonly isNested = true;
  /** Devices that go through it. */
  readonly devices = new Set<IommuDevice>();

  private constructor(
    /** The second stage. */
    readonly domain: Domain,
    private readonly config: ArgumentBuffer,
    private readonly tables: TableMemory,
  ) {}

  /**
   * Over a table that lies in the second stage's addresses. EOPNOTSUPP: another kind of table;
   * EINVAL, EFAULT: see `copyUserData`. What its fields say is looked at when a device comes.
   */
  static create(data: UserData, domain: Domain, tables: TableMemory): VtdNested {
    if (data.type !== HWPT_DATA_VTD_S1) fail('EOPNOTSUPP');
    return new VtdNested(domain, copyUserData(data, HWPT_DATA_VTD_S1, HwptVtdS1), tables);
  }

  /**
   * For devices that come to it; `queue`: where their page requests go. EINVAL: a width or flags
   * that the IOMMU lacks. The low bits of the table's address are ignored.
   */
  stage1(queue: FaultQueue | null): Stage1 {
    const { config, tables } = this;
    const { at } = HwptVtdS1;
    const isAbsent = (config.u32(at.flags) & ABSENT) !== 0;
    if (config.u32(at.addr_width) !== FOUR_LEVELS || isAbsent) fail('EINVAL');
    return new Stage1(config.pages(at.pgtbl_addr), queue, tables);
  }

  /**
   * IOTLBs forget pages of the table; address 0 and `npages` all ones: everything. EINVAL: another
   * kind of entry, or see `invalidateEach`; EOPNOTSUPP: flags, reserved; EINVAL: off a page.
   */
  invalidate(array: InvalidationArray): void {
    if (array.type !== HWPT_INVALIDATE_DATA_VTD_S1) fail('EINVAL');
    const { at, size } = HwptVtdS1Invalidate;
    invalidateEach(array, HwptVtdS1Invalidate, size, (entry) => {
      const flags = entry.u32(at.flags) & ~IOMMU_VTD_INV_FLAGS_LEAF;
      if (flags !== 0 || entry.u32(at.hw_error) !== 0) fail('EOPNOTSUPP');
      const first = entry.pages(at.addr);
      const isWhole = entry.u32(at.npages) === ALL_PAGES && entry.u32(at.npages + 4) === ALL_PAGES;
      if (entry.inPage(at.addr) !== 0 || (isWhole && first !== 0)) fail('EINVAL');
      for (const { iotlb } of this.devices) {
        if (isWhole) iotlb.flushAll();
        else iotlb.flush(first, entry.u64(at.npages));
      }
    });
  }
}
