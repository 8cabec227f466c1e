/** VT-d in front of the engine's page tables (kernel: drivers/iommu/intel). */
import { fail } from '../abi/errno.js';
import { HW_INFO_TYPE_INTEL_VTD, HwptAllocFlag, IommuHwCapability } from '../abi/iommufd.js';
import { HwInfoVtd } from '../abi/iommufd-structs.js';
import { writeStruct } from '../abi/layout.js';
import type { Flow } from '../flow/flow.js';
import { DirtyLog } from '../ioas/dirty-log.js';
import type { IoSpace } from '../ioas/io-space.js';
import type { Attachment, IommuDevice } from '../iommu/device.js';
import type { Domain } from '../iommu/domain.js';
import { apertureEnd, areAlike, type IommuProperties } from '../iommu/geometry.js';
import { capabilityRegister, extendedCapabilityRegister } from '../iommu/vtd.js';
import { WRITE } from '../mm/address-space.js';
import type { Area } from './area.js';
import type { Hwpt, NestedTable, PagingHwpt } from './hwpt.js';
import type { Ioas } from './ioas.js';
import type { HardwareInfo, Iommu, UserData } from './iommu.js';
import type { IommufdMachine } from './machine.js';
import type { IoPageTable } from './page-table.js';
import { type ByteRange, PAGE } from './ranges.js';
import { VtdNested } from './vtd-nested.js';

/** IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17, which the recorded IOMMU has. */
const VTD_ERRATA = 1;
const { IOMMU_HWPT_ALLOC_DIRTY_TRACKING: LOGS_WRITES, IOMMU_HWPT_ALLOC_NEST_PARENT: NEST_PARENT } =
  HwptAllocFlag;
const { IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED: NO_ATS, IOMMU_HW_CAP_DIRTY_TRACKING: DIRTY_TRACKING } =
  IommuHwCapability;

export class VtdIommu implements Iommu {
  readonly remapsInterrupts: boolean;
  readonly reserved: readonly ByteRange[];
  readonly pasidBits = 0;
  private readonly geometry: IommuProperties;

  constructor(
    private readonly machine: IommufdMachine,
    private readonly device: IommuDevice,
  ) {
    this.geometry = device.group!.geometry;
    this.remapsInterrupts = this.geometry.interruptRemapping;
    this.reserved = this.geometry.reserved.map(({ firstPage, pages }) => {
      const first = BigInt(firstPage) * PAGE;
      return { first, end: first + BigInt(pages) * PAGE };
    });
  }

  /** Writes are seen as page faults: the recorded IOMMU has no other way. */
  get tracksDirty(): boolean {
    return this.machine.iopf !== 'off';
  }

  info(type: number): HardwareInfo {
    if (type !== 0 && type !== HW_INFO_TYPE_INTEL_VTD) fail('EOPNOTSUPP');
    const data = writeStruct(HwInfoVtd, {
      flags: VTD_ERRATA,
      cap_reg: capabilityRegister(this.geometry),
      ecap_reg: extendedCapabilityRegister(this.geometry),
    });
    const can = this.tracksDirty ? DIRTY_TRACKING : 0;
    const cannot = this.machine.kernel.hwInfoInput && !this.device.hasPri ? NO_ATS : 0;
    return { type: HW_INFO_TYPE_INTEL_VTD, data, capabilities: can | cannot };
  }

  newTable(flags: number, data: UserData | null): IoPageTable {
    const known = LOGS_WRITES | (this.nests ? NEST_PARENT : 0);
    if ((flags & ~known) !== 0 || data !== null) fail('EOPNOTSUPP');
    return new VtdTable(this.machine, this.geometry, flags);
  }

  newNested({ table }: PagingHwpt, _flags: number, data: UserData): NestedTable {
    const { tables } = this.machine;
    if (!this.nests || tables === null) return fail('EOPNOTSUPP');
    const domain = domainOf(table) ?? fail('EINVAL');
    return VtdNested.create(data, domain, tables);
  }

  accepts({ table }: Hwpt): boolean {
    const domain = domainOf(table);
    return domain !== null && areAlike(domain.geometry, this.geometry);
  }

  *attach(hwpt: Hwpt): Flow<void> {
    const to = yield* this.prepare(hwpt);
    yield* hwpt.ioas.space.attachDevices(this.devices, to);
    this.notePassage(hwpt, true);
  }

  *replace(from: Hwpt, hwpt: Hwpt): Flow<void> {
    const to = yield* this.prepare(hwpt);
    yield* from.ioas.space.moveDevices(this.devices, hwpt.ioas.space, to);
    this.notePassage(from, false);
    this.notePassage(hwpt, true);
  }

  *detach(hwpt: Hwpt): Flow<void> {
    yield* hwpt.ioas.space.detachDevices(this.devices);
    this.notePassage(hwpt, false);
  }

  /** A first stage knows whose IOTLBs have pages of it. */
  private notePassage({ table }: Hwpt, isThere: boolean): void {
    if (!(table instanceof VtdNested)) return;
    for (const device of this.devices) {
      if (isThere) table.devices.add(device);
      else table.devices.delete(device);
    }
  }

  private get nests(): boolean {
    return this.geometry.nests === true;
  }

  private get devices(): readonly IommuDevice[] {
    return this.device.group!.devices;
  }

  /**
   * Pins what is mapped in an IOAS that devices come to which cannot wait, or whose program
   * answers: what it maps when it is asked must be there when it has answered. Returns where they
   * go. EINVAL: see `VtdNested.stage1`; EFAULT, ENOMEM; ENODEV: a device cannot wait, and then
   * nothing has changed.
   */
  private *prepare({ ioas, fault, table }: Hwpt): Flow<Attachment> {
    const { space, machine } = ioas;
    const { devices } = this;
    const queue = fault?.queue ?? null;
    const stage1 = table instanceof VtdNested ? table.stage1(queue) : null;
    const handler = stage1 === null ? queue : null;
    // Without IOPF page requests are those of devices that have them anyway.
    const canAsk = (each: IommuDevice): boolean => machine.iopf !== 'off' || each.hasPri;
    if (queue !== null && !devices.every((each) => canAsk(each) && each.canWaitFor(queue)))
      fail('ENODEV');
    const canFault = devices.every((each) => each.canFault);
    if (handler !== null || (machine.iopf === 'auto' && !canFault)) yield* space.pinAll();
    if (space.iopf.enabled && !canFault) fail('ENODEV');
    return { domain: domainOf(table)!, handler, stage1 };
  }
}

/** The engine's page table behind one, or null: it is another IOMMU's. */
function domainOf(table: IoPageTable | NestedTable): Domain | null {
  return table instanceof VtdTable || table instanceof VtdNested ? table.domain : null;
}

/**
 * EFAULT: an area is of a device's registers, which pinning would find out. IOPF does not pin, and
 * would have one device write to another.
 */
function checkOrdinary({ source, firstPage, pages, permission }: Area): void {
  if (permission !== 0 && source.isUnpinnable(firstPage, pages)) fail('EFAULT');
}

export class VtdTable implements IoPageTable {
  readonly domain: Domain;
  readonly aperture: ByteRange;
  readonly pageSizes: bigint;
  readonly isCoherent: boolean;
  readonly tracksDirty: boolean;
  private space: IoSpace | null = null;
  /** What its devices write; null: no log is kept. */
  log: DirtyLog | null = null;

  constructor(
    { kernel, observer, engine }: IommufdMachine,
    geometry: IommuProperties,
    flags: number,
  ) {
    const writableIsReadable = kernel.pinnedIsReadable;
    const nested = (flags & NEST_PARENT) !== 0;
    this.domain = engine.domain({ geometry, nested, writableIsReadable, observer });
    this.tracksDirty = (flags & LOGS_WRITES) !== 0;
    this.aperture = { first: 0n, end: BigInt(apertureEnd(geometry)) * PAGE };
    this.pageSizes = BigInt(geometry.pageSizes);
    this.isCoherent = geometry.snoopControl;
  }

  enter({ space, areas }: Ioas): void {
    if (space.domains.length === 0) for (const area of areas) checkOrdinary(area);
    space.addDomain(this.domain);
    this.space = space;
  }

  leave({ space }: Ioas): void {
    if (this.log !== null) space.stopLog(this.log);
    space.removeDomain(this.domain);
  }

  /** The space maps in all of its domains at once. EFAULT: see `checkOrdinary`. */
  map(area: Area): void {
    checkOrdinary(area);
  }

  unmap(): void {}

  setLogging(on: boolean): void {
    const space = this.space!;
    if (this.log !== null) space.stopLog(this.log);
    this.log = on ? new DirtyLog(this.domain) : null;
    if (this.log !== null) space.startLog(this.log);
  }

  /** Exact where pages fault in; what is pinned may be written at any time, and so is dirty. */
  *dirtyRanges(
    { iova, mapping }: Area,
    from: bigint,
    to: bigint,
    clear: boolean,
  ): Generator<ByteRange, void, void> {
    const { log } = this;
    if (mapping === null || log === null) return;
    const first = Number((from - iova) / PAGE);
    const end = Number((to - iova) / PAGE);
    if (mapping.pinned) {
      if ((mapping.permission & WRITE) !== 0) yield { first: from, end: to };
    } else {
      const dirty = log.of(mapping);
      for (let at = dirty.nextSet(first, end); at < end; ) {
        const stop = dirty.nextClear(at, end);
        yield { first: iova + BigInt(at) * PAGE, end: iova + BigInt(stop) * PAGE };
        at = dirty.nextSet(stop, end);
      }
    }
    if (clear) this.space!.iopf.dirtyReported(log, mapping, first, end - first);
  }
}
