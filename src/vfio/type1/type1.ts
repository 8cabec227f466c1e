/**
 * The type1 IOMMU backend of a container: its domains, its mappings and what is pinned for them
 * (kernel: vfio_iommu_type1.c).
 *
 * Terms: groups whose IOMMUs are alike share a *domain*. A mapping is *pinned* (all of its pages
 * pinned, accounted and present in every domain) or, where IOPF is on, faulted in page by page. The
 * *dirty log* reports what devices may have written.
 */
import { fail } from '../../abi/errno.js';
import { IopfIoctl, Type1Ioctl, VfioExtension } from '../../abi/vfio.js';
import type { Caller } from '../../file/file.js';
import { runDirect } from '../../flow/direct.js';
import type { Flow } from '../../flow/flow.js';
import { DriverPinning } from '../../ioas/driver-pins.js';
import type { IopfBackend } from '../../ioas/iopf/backend.js';
import { Iopf } from '../../ioas/iopf/iopf.js';
import { commonRanges, type IovaRange, rangesCover } from '../../ioas/iova-ranges.js';
import type { Mapping } from '../../ioas/mapping.js';
import { MappingIndex } from '../../ioas/mapping-index.js';
import { PageBitmap } from '../../ioas/page-bitmap.js';
import { dropPins, pinWhole, replayPins, unpinWhole } from '../../ioas/pinning.js';
import type { IommuDevice } from '../../iommu/device.js';
import { Domain } from '../../iommu/domain.js';
import type { IommuGeometry } from '../../iommu/geometry.js';
import type { Counters } from '../../iommu/observer.js';
import type { AddressSpace } from '../../mm/address-space.js';
import type { VfioGroup } from '../group.js';
import type { MachineState } from '../machine-state.js';
import { allocateStage1 } from '../stage1.js';
import { dirtyPages } from './dirty-pages.js';
import { getIommuInfo } from './iommu-info.js';
import { mapDma } from './map-dma.js';
import { unmapDma } from './unmap-dma.js';

/**
 * The most pages of a mapping whose writes can be logged (kernel: DIRTY_BITMAP_PAGES_MAX, INT_MAX).
 */
const DIRTY_BITMAP_PAGES_MAX = 2 ** 31 - 1;

/** VFIO_CHECK_EXTENSION, before the IOMMU is chosen (type1 null) and after: 1 or 0. */
export function checkExtension(
  machine: MachineState,
  type1: Type1 | null,
  groups: readonly VfioGroup[],
  extension: number,
): number {
  switch (extension) {
    case VfioExtension.VFIO_TYPE1_IOMMU:
    case VfioExtension.VFIO_TYPE1v2_IOMMU:
    case VfioExtension.VFIO_UNMAP_ALL:
      return 1;
    case VfioExtension.VFIO_TYPE1_NESTING_IOMMU:
      return machine.kernel.nestingType ? 1 : 0;
    case VfioExtension.VFIO_UPDATE_VADDR:
      return type1 ? 1 : 0;
    case VfioExtension.VFIO_DMA_CC_IOMMU:
      return type1?.domains.every((domain) => domain.geometry.snoopControl) ? 1 : 0;
    case VfioExtension.VFIO_IOPF: {
      if (machine.iopf === 'off') return 0;
      return groups.every((group) => group.iommuGroup.devices.every((device) => device.canFault))
        ? 1
        : 0;
    }
    default:
      return 0;
  }
}

/**
 * A backend for an extension that exists. EINVAL: no type of IOMMU; or nesting with IOPF off, where
 * no IOMMU can do it, as on the machines of the recordings.
 */
export function openType1(machine: MachineState, type: number): Type1 {
  if (type === VfioExtension.VFIO_TYPE1_IOMMU) return new Type1(machine, 1);
  if (type === VfioExtension.VFIO_TYPE1v2_IOMMU) return new Type1(machine, 2);
  const canNest = machine.iopf !== 'off' && machine.tables !== null;
  if (type === VfioExtension.VFIO_TYPE1_NESTING_IOMMU && canNest)
    return new Type1(machine, 2, true);
  return fail('EINVAL');
}

export class Type1 implements IopfBackend {
  readonly counters: Counters;
  readonly domains: Domain[] = [];
  readonly mappings = new MappingIndex();
  /** IOVAs that can be mapped, in order. */
  ranges: readonly IovaRange[] = [];
  dirtyTracking = false;
  /** Mappings whose address is invalid at the moment (kernel: vaddr_invalid_count). */
  invalidVaddrs = 0;
  /** What device drivers pin (R6.2). */
  readonly pinning = new DriverPinning(this);
  private readonly domainOf = new Map<VfioGroup, Domain>();
  /** The IOPF side; null where the machine has it off. */
  readonly iopf: Iopf | null;
  private readonly entryLimit: number;

  constructor(
    readonly machine: MachineState,
    /** 1: mappings may be unmapped by a range that only begins at them; 2: never cut. */
    readonly version: 1 | 2,
    /** Its page tables are second stages, above which programs may put their own (R8.1). */
    readonly nesting = false,
  ) {
    this.counters = machine.counters;
    this.entryLimit = machine.dmaEntryLimit;
    this.iopf = machine.iopf === 'off' ? null : this.createIopf();
  }

  ioctl(caller: Caller, request: number, argument: number): number {
    switch (request) {
      case Type1Ioctl.VFIO_IOMMU_GET_INFO:
        getIommuInfo(caller, argument, this);
        return 0;
      case Type1Ioctl.VFIO_IOMMU_MAP_DMA:
        mapDma(caller, argument, this);
        return 0;
      case Type1Ioctl.VFIO_IOMMU_UNMAP_DMA:
        unmapDma(caller, argument, this);
        return 0;
      case Type1Ioctl.VFIO_IOMMU_DIRTY_PAGES:
        dirtyPages(caller, argument, this);
        return 0;
      case IopfIoctl.VFIO_IOMMU_ENABLE_IOPF:
        if (!this.iopf) fail('ENOTTY');
        runDirect(this.iopf.enable());
        return 0;
      case IopfIoctl.VFIO_IOMMU_DISABLE_IOPF:
        if (!this.iopf) fail('ENOTTY');
        runDirect(this.iopf.disable());
        return 0;
      case IopfIoctl.VFIO_IOMMU_STAGE1_ALLOC:
        if (!this.nesting) fail('ENOTTY');
        return caller.install(allocateStage1(caller, argument, this));
      default:
        return fail('ENOTTY');
    }
  }

  get iopfEnabled(): boolean {
    return this.iopf?.enabled ?? false;
  }

  /** Mappings that may still be made. */
  get mappingsAvailable(): number {
    return this.entryLimit - this.mappings.size;
  }

  /** Page sizes that all domains have, bit n for 2^n bytes. */
  get pageSizes(): number {
    return this.domains.reduce((sizes, domain) => sizes & domain.geometry.pageSizes, 0x7fff_f000);
  }

  devices(): readonly IommuDevice[] {
    const devices: IommuDevice[] = [];
    for (const domain of this.domains) {
      for (const [group, own] of this.domainOf)
        if (own === domain) devices.push(...group.iommuGroup.devices);
    }
    return devices;
  }

  /** Whether a mapping lies on an edge of [first, end), so that the range would cut it. */
  cuts(first: number, end: number): boolean {
    const atFirst = this.mappings.covering(first);
    if (atFirst) {
      if (atFirst.iovaPage !== first) return true;
      if (atFirst.iovaEnd >= end) return atFirst.iovaEnd !== end;
    }
    const atEnd = this.mappings.covering(end - 1);
    return atEnd !== null && atEnd.iovaEnd !== end;
  }

  /**
   * Gives a group a domain: one that others have, or a new one into which all that is pinned is
   * mapped. EBUSY: the address of a mapping is invalid at the moment; EINVAL: a mapping lies where
   * its IOMMU cannot map; EPERM: no interrupt remapping; and what switching IOPF on answers (R5.5).
   * Then nothing changed.
   */
  attach(group: VfioGroup): void {
    runDirect(this.attachFlow(group));
  }

  /** `attach` as a path that may wait. */
  *attachFlow(group: VfioGroup): Flow<void> {
    if (this.invalidVaddrs > 0) fail('EBUSY');
    const ranges = commonRanges([...this.geometries(), group.geometry]);
    for (const mapping of this.mappings) {
      if (!rangesCover(ranges, mapping.iovaPage, mapping.iovaEnd)) fail('EINVAL');
    }
    if (!group.geometry.interruptRemapping && !this.machine.allowUnsafeInterrupts) fail('EPERM');
    const { devices } = group.iommuGroup;
    yield* this.makeRoomForDevices(devices);
    const domain = this.domainFor(group.geometry);
    this.domainOf.set(group, domain);
    // From now on a mapping goes into this domain, too.
    this.ranges = ranges;
    for (const device of devices) device.attach(domain);
    try {
      if (this.iopf) yield* this.iopf.devicesAttached(devices);
    } catch (error) {
      yield* this.removeGroup(group);
      throw error;
    }
  }

  /** A group leaves; with the last one all mappings go. */
  detach(group: VfioGroup): void {
    runDirect(this.detachFlow(group));
  }

  /** `detach` as a path that may wait. */
  *detachFlow(group: VfioGroup): Flow<void> {
    yield* this.removeGroup(group);
    // What it may have written is told even though those that are left can write less.
    if (this.dirtyTracking && this.pinning.isUnscoped(group))
      for (const mapping of this.mappings) if (mapping.pinned) mapping.dirty!.set(0, mapping.pages);
    this.pinning.forgetGroup(group);
  }

  private *removeGroup(group: VfioGroup): Flow<void> {
    const domain = this.domainOf.get(group)!;
    const { devices } = group.iommuGroup;
    for (const device of devices) yield* device.detachStage1();
    if (this.iopf) yield* this.iopf.devicesDetaching(devices);
    for (const device of devices) device.detach();
    this.domainOf.delete(group);
    if (domain.devices.length === 0 && ![...this.domainOf.values()].includes(domain))
      this.dropDomain(domain);
    this.ranges = commonRanges(this.geometries());
  }

  /** All groups are gone. */
  release(): void {
    if (this.iopf) runDirect(this.iopf.release());
  }

  /**
   * IOPF on at SET_IOMMU, where the machine says so; devices that cannot leave the container with
   * static pins.
   */
  enableIopfByDefault(): void {
    if (this.machine.iopf !== 'auto' || !this.iopf?.everyDeviceCan) return;
    runDirect(this.iopf.enable());
  }

  /**
   * Makes a mapping that overlaps none: pinned, or left to faults. ENOMEM, EFAULT; EINVAL: too
   * large for the dirty log.
   */
  addMapping(mapping: Mapping): void {
    if (this.iopfEnabled && !mapping.pinnedByFlag) this.iopf!.mappingAdded(mapping);
    else this.pinMapping(mapping);
    this.mappings.insert(mapping);
    this.counters.addMapped(mapping.pages);
    this.machine.observer?.mappingAdded?.(mapping);
    if (!this.dirtyTracking) return;
    if (mapping.pages > DIRTY_BITMAP_PAGES_MAX) {
      this.removeMapping(mapping);
      fail('EINVAL');
    }
    mapping.dirty = new PageBitmap(mapping.pages);
  }

  /** A mapping goes; drivers that have pinned pages of it are told first. */
  removeMapping(mapping: Mapping): void {
    this.pinning.unmapping(mapping);
    this.mappings.remove(mapping);
    if (mapping.vaddrInvalid) this.invalidVaddrs--;
    this.counters.addMapped(-mapping.pages);
    this.machine.observer?.mappingRemoved?.(mapping);
    if (!mapping.pinned) {
      this.iopf!.mappingRemoved(mapping);
      return;
    }
    unpinWhole(mapping, this.domains);
    this.counters.addPinned(-mapping.pages);
    this.counters.addResident(-mapping.pages);
  }

  /** Gives a mapping another address and owner; its account has been moved. */
  moveMapping(mapping: Mapping, vaddrPage: number, mm: AddressSpace): void {
    const watched = !mapping.pinned;
    this.machine.observer?.mappingRemoved?.(mapping);
    if (watched) this.iopf!.mappingRemoved(mapping);
    if (mm !== mapping.mm) mapping.lockCapability = mm.ipcLock;
    mapping.vaddrPage = vaddrPage;
    mapping.mm = mm;
    if (watched) this.iopf!.mappingAdded(mapping);
    this.machine.observer?.mappingAdded?.(mapping);
  }

  pinMapping(mapping: Mapping): void {
    this.pinning.standAside(mapping);
    try {
      pinWhole(mapping, this.domains);
    } catch (error) {
      this.pinning.standBack(mapping);
      throw error;
    }
    this.counters.addPinned(mapping.pages);
    this.counters.addResident(mapping.pages);
  }

  unpinMapping(mapping: Mapping): void {
    dropPins(mapping, this.domains[0]!);
    this.counters.addPinned(-mapping.pages);
    this.pinning.standAlone(mapping);
  }

  /** EINVAL where a mapping is too large; then no log is kept. On already: nothing happens. */
  startDirtyLog(): void {
    if (this.dirtyTracking) return;
    for (const mapping of this.mappings) if (mapping.pages > DIRTY_BITMAP_PAGES_MAX) fail('EINVAL');
    for (const mapping of this.mappings) {
      mapping.dirty = new PageBitmap(mapping.pages);
      this.pinning.markDirty(mapping);
    }
    this.dirtyTracking = true;
    this.iopf?.dirtyStarted();
  }

  stopDirtyLog(): void {
    if (!this.dirtyTracking) return;
    this.dirtyTracking = false;
    for (const mapping of this.mappings) {
      mapping.dirty = null;
      mapping.dirtyResidue = null;
    }
    this.iopf?.dirtyStopped();
  }

  /** A mapping's dirty pages were reported. */
  restartDirtyLog(mapping: Mapping): void {
    if (this.iopf) this.iopf.dirtyReported(mapping, 0, mapping.pages);
    else mapping.dirty!.clear(0, mapping.pages);
    this.pinning.markDirty(mapping);
  }

  /**
   * Some device may write pages that no driver has pinned: all of a mapping that is pinned may be
   * dirty.
   */
  get writesAnywhere(): boolean {
    for (const group of this.domainOf.keys()) if (this.pinning.isUnscoped(group)) return true;
    return false;
  }

  private geometries(): IommuGeometry[] {
    return [...this.domainOf.keys()].map((group) => group.geometry);
  }

  /**
   * A device that cannot fault joins a container which is on by default: it goes back to static
   * pins. ENOMEM, EFAULT.
   */
  private *makeRoomForDevices(devices: readonly IommuDevice[]): Flow<void> {
    if (this.machine.iopf !== 'auto' || !this.iopfEnabled) return;
    if (!devices.every((device) => device.canFault)) yield* this.iopf!.disable();
  }

  protected createIopf(): Iopf {
    const { premapPages, observer } = this.machine;
    return new Iopf(this, { premapPages, premap: this.machine.premap?.() ?? null, observer });
  }

  protected createDomain(geometry: IommuGeometry): Domain {
    return new Domain({ geometry, nested: this.nesting, observer: this.machine.observer });
  }

  private domainFor(geometry: IommuGeometry): Domain {
    const alike = this.domains.find((domain) => alikeGeometry(domain.geometry, geometry));
    if (alike) return alike;
    const domain = this.createDomain(geometry);
    for (const mapping of this.mappings) {
      if (mapping.pinned && this.domains[0]) replayPins(mapping, this.domains[0], domain);
      if (!mapping.pinned) this.pinning.mapInto(mapping, [domain]);
    }
    this.domains.push(domain);
    return domain;
  }

  private dropDomain(domain: Domain): void {
    if (this.domains.length === 1) for (const mapping of this.mappings) this.removeMapping(mapping);
    this.domains.splice(this.domains.indexOf(domain), 1);
    this.iopf?.domainRemoved();
  }
}

/** Whether groups behind these IOMMUs can share a page table. */
function alikeGeometry(a: IommuGeometry, b: IommuGeometry): boolean {
  return (
    a.addressWidth === b.addressWidth &&
    a.pageSizes === b.pageSizes &&
    a.snoopControl === b.snoopControl
  );
}
