/** The IOMMU of mock devices, and those devices (kernel: struct mock_dev, mock_ops). */
import { fail } from '../../abi/errno.js';
import { HwptAllocFlag, IommuHwCapability } from '../../abi/iommufd.js';
import {
  HW_INFO_SELFTEST_REGISTER,
  MOCK_CACHE_ENTRIES,
  MOCK_DEVICE_CACHE_DEFAULT,
  MOCK_PASID_BITS,
  MockDevice,
  MockPageTable,
  PASID_RESERVED,
  SelftestHwInfo,
  SelftestHwpt,
  SelftestType,
  TestOp,
} from '../../abi/iommufd-test.js';
import type { KernelProfile } from '../../abi/kernel.js';
import { writeStruct } from '../../abi/layout.js';
import type { Flow } from '../../flow/flow.js';
import { IommuDevice } from '../../iommu/device.js';
import { IommuGroup } from '../../iommu/group.js';
import type { FaultingDevice } from '../../iommu/page-request.js';
import type { IommufdContext } from '../context.js';
import { BoundDevice, NO_PASID } from '../device.js';
import { type Hwpt, NestedHwpt, type NestedTable, PagingHwpt } from '../hwpt.js';
import { copyUserData, type HardwareInfo, type Iommu, type UserData } from '../iommu.js';
import type { IommufdObject } from '../objects.js';
import type { IoPageTable } from '../page-table.js';
import { MockNested } from './mock-nested.js';
import { MockTable } from './mock-table.js';
import type { MockViommu, Vdevice } from './viommu.js';

const { IOMMU_HWPT_ALLOC_DIRTY_TRACKING: DIRTY_TRACKING } = HwptAllocFlag;

export class MockIommu implements Iommu {
  readonly remapsInterrupts = true;
  readonly reserved = [];
  readonly tracksDirty: boolean;
  readonly pasidBits: number;
  readonly cache = new Array<number>(MOCK_CACHE_ENTRIES).fill(MOCK_DEVICE_CACHE_DEFAULT);
  /** The virtual IOMMU of the nested page table that it is attached to, and its number there. */
  viommu: MockViommu | null = null;
  virtualId = 0n;
  /** What it is behind a virtual IOMMU. */
  vdevice: Vdevice | null = null;
  /** Who asks for pages, by PASID, where a program answers. */
  private readonly askers = new Map<number, FaultingDevice>();
  /** The next attachment of PASID_RESERVED fails. */
  private fails = false;

  constructor(
    private readonly device: IommuDevice,
    private readonly kernel: KernelProfile,
    flags: number,
  ) {
    this.tracksDirty = (flags & MockDevice.NO_DIRTY) === 0;
    this.pasidBits = (flags & MockDevice.PASID) === 0 ? 0 : MOCK_PASID_BITS;
  }

  info(type: number): HardwareInfo {
    if (type !== 0 && type !== SelftestType.HW_INFO) fail('EOPNOTSUPP');
    const data = writeStruct(SelftestHwInfo, { flags: 0, test_reg: HW_INFO_SELFTEST_REGISTER });
    const { IOMMU_HW_CAP_DIRTY_TRACKING: dirty, IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED: noAts } =
      IommuHwCapability;
    const capabilities = (this.tracksDirty ? dirty : 0) | (this.kernel.hwInfoInput ? noAts : 0);
    return { type: SelftestType.HW_INFO, data, capabilities };
  }

  newTable(flags: number, data: UserData | null): IoPageTable {
    let kind: number = MockPageTable.DEFAULT;
    if (data !== null) {
      if (data.type !== SelftestType.HWPT_DATA || !this.kernel.genericMockTables)
        fail('EOPNOTSUPP');
      const { at, end } = SelftestHwpt;
      kind = copyUserData(data, SelftestType.HWPT_DATA, SelftestHwpt, end.iotlb).u32(
        at.pagetable_type,
      );
    }
    if (kind !== MockPageTable.DEFAULT && kind !== MockPageTable.HUGE) fail('EOPNOTSUPP');
    const tracksDirty = (flags & DIRTY_TRACKING) !== 0;
    return new MockTable(this.kernel.genericMockTables, tracksDirty, kind === MockPageTable.HUGE);
  }

  newNested(parent: PagingHwpt, _flags: number, data: UserData): NestedTable {
    if (!(parent.table instanceof MockTable)) fail('EINVAL');
    return MockNested.create(data, null, this.kernel);
  }

  accepts(hwpt: Hwpt): boolean {
    return hwpt instanceof NestedHwpt
      ? hwpt.table instanceof MockNested
      : hwpt instanceof PagingHwpt && hwpt.table instanceof MockTable;
  }

  /** EINVAL: a log is kept that it cannot; ENOENT: its virtual IOMMU does not know it; ENOMEM. */
  // biome-ignore lint/correctness/useYield: a flow by its interface; it never waits
  *attach(hwpt: Hwpt, pasid: number): Flow<void> {
    if (pasid === NO_PASID) this.enter(hwpt);
    else this.enterPasid(pasid);
    if (hwpt.fault !== null) this.askers.set(pasid, this.newAsker(pasid));
  }

  *replace(from: Hwpt, to: Hwpt, pasid: number): Flow<void> {
    const { askers } = this;
    const asker = askers.get(pasid);
    askers.delete(pasid);
    try {
      yield* this.attach(to, pasid);
    } catch (error) {
      if (asker !== undefined) askers.set(pasid, asker);
      throw error;
    }
    if (asker !== undefined) from.fault?.queue.abandoned(asker);
  }

  // biome-ignore lint/correctness/useYield: as `attach`
  *detach(hwpt: Hwpt, pasid: number): Flow<void> {
    if (pasid === NO_PASID) this.viommu = null;
    if (pasid === PASID_RESERVED) this.fails = false;
    const asker = this.askers.get(pasid);
    this.askers.delete(pasid);
    if (asker !== undefined) hwpt.fault?.queue.abandoned(asker);
  }

  /** Who asks for pages of a PASID, if anybody does. */
  asker(pasid: number): FaultingDevice | null {
    return this.askers.get(pasid) ?? null;
  }

  isAsker(asker: FaultingDevice): boolean {
    return [...this.askers.values()].includes(asker);
  }

  private enter(hwpt: Hwpt): void {
    if (hwpt instanceof PagingHwpt && hwpt.table.tracksDirty && !this.tracksDirty) fail('EINVAL');
    const viommu = hwpt instanceof NestedHwpt ? (hwpt.table as MockNested).viommu : null;
    const virtualId = viommu === null ? 0n : viommu.idOf(this);
    this.viommu = viommu;
    this.virtualId = virtualId;
  }

  /** EINVAL: it has no such PASID. */
  private enterPasid(pasid: number): void {
    if (pasid >= 2 ** this.pasidBits || this.pasidBits === 0) fail('EINVAL');
    if (pasid !== PASID_RESERVED) return;
    this.fails = !this.fails;
    if (!this.fails) fail('ENOMEM');
  }

  private newAsker(pasid: number): FaultingDevice {
    const { address, iotlb } = this.device;
    const name = pasid === NO_PASID ? address : `${address}, PASID ${pasid}`;
    return { address: name, domain: null, group: null, iotlb, resumeParked: () => {} };
  }
}

/** A mock device, bound and attached (kernel: struct selftest_obj). */
export class MockDeviceObject implements IommufdObject {
  id = 0;
  users = 0;
  bound: BoundDevice | null = null;

  /** Binds one to a context. EINVAL: flags. */
  static create(context: IommufdContext, flags: number): MockDeviceObject {
    const hasPasids = context.machine.kernel.testOpLast >= TestOp.PASID_ATTACH;
    const known = MockDevice.NO_DIRTY | (hasPasids ? MockDevice.PASID : MockDevice.HUGE_IOVA);
    if ((flags & ~known) !== 0) fail('EINVAL');
    const object = new MockDeviceObject();
    context.objects.add(object);
    const device = new IommuDevice({ address: `iommufd_mock${object.id}`, canFault: false });
    new IommuGroup(-1).add(device);
    const iommu = new MockIommu(device, context.machine.kernel, flags);
    object.bound = new BoundDevice(context, device, iommu, false);
    return object;
  }

  /** The bound device, which is there once it is created. */
  get device(): BoundDevice {
    return this.bound!;
  }

  destroy(): void {
    if (this.bound === null) return;
    (this.bound.iommu as MockIommu).vdevice?.bury();
    this.bound.unbind();
  }
}
