/**
 * The type1 IOMMU backend of a container (kernel: vfio_iommu_type1.c): which group has which
 * domain, and what only type1 does. What is mapped and pinned is the I/O address space's.
 *
 * Terms: groups whose IOMMUs are alike share a *domain*. The *dirty log* reports what devices may
 * have written.
 */
import { fail } from '../../abi/errno.js';
import { VfioExtension } from '../../abi/vfio.js';
import { runDirect } from '../../flow/direct.js';
import type { Flow } from '../../flow/flow.js';
import { DirtyLog } from '../../ioas/dirty-log.js';
import type { IoSpace } from '../../ioas/io-space.js';
import type { Mapping } from '../../ioas/mapping.js';
import type { IommuDevice } from '../../iommu/device.js';
import type { Domain } from '../../iommu/domain.js';
import { areAlike, type IommuProperties } from '../../iommu/geometry.js';
import type { IommuGroup } from '../../iommu/group.js';
import type { AddressSpace } from '../../mm/address-space.js';
import { ProcessAccount } from '../../mm/lock-account.js';
import type { MachineState } from '../machine-state.js';

/**
 * The most pages of a mapping whose writes can be logged (kernel: DIRTY_BITMAP_PAGES_MAX, INT_MAX).
 */
const DIRTY_BITMAP_PAGES_MAX = 2 ** 31 - 1;

/** VFIO_CHECK_EXTENSION, before the IOMMU is chosen (type1 null) and after: 1 or 0. */
export function checkExtension(
  machine: MachineState,
  type1: Type1 | null,
  groups: readonly IommuGroup[],
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
      return type1?.space.domains.every((domain) => domain.geometry.snoopControl) ? 1 : 0;
    case VfioExtension.VFIO_IOPF: {
      if (machine.iopf === 'off') return 0;
      return groups.every((group) => group.devices.every((device) => device.canFault)) ? 1 : 0;
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

export class Type1 {
  readonly space: IoSpace;
  /** Null while no log is kept. */
  log: DirtyLog | null = null;
  /** What the kernel's log leaves behind a mapping's last bit (user-bitmap.ts). */
  residues = new WeakMap<Mapping, Uint32Array>();
  private readonly domainOf = new Map<IommuGroup, Domain>();
  private readonly entryLimit: number;
  /** The one that was asked for last: mostly it is asked for again. */
  private account: ProcessAccount | null = null;

  constructor(
    readonly machine: MachineState,
    /** 1: mappings may be unmapped by a range that only begins at them; 2: never cut. */
    readonly version: 1 | 2,
    /** Its page tables are second stages, above which programs may put their own (R8.1). */
    readonly nesting = false,
  ) {
    this.entryLimit = machine.dmaEntryLimit;
    this.space = machine.engine.space({
      counters: machine.counters,
      observer: machine.observer,
      premapPages: machine.premapPages,
      premap: machine.premap?.() ?? null,
      driversMayPin: version === 2,
    });
  }

  /** Where what a process maps now is charged. */
  accountOf(mm: AddressSpace): ProcessAccount {
    const unlimited = mm.ipcLock;
    if (this.account === null || this.account.mm !== mm || this.account.unlimited !== unlimited)
      this.account = new ProcessAccount(mm, unlimited);
    return this.account;
  }

  /** Mappings that may still be made. */
  get mappingsAvailable(): number {
    return this.entryLimit - this.space.mappings.size;
  }

  /**
   * Gives a group a domain: one that others have, or a new one into which all that is pinned is
   * mapped. EBUSY: the address of a mapping is invalid at the moment; EINVAL: a mapping lies where
   * its IOMMU cannot map; EPERM: no interrupt remapping; and what switching IOPF on answers (R5.5).
   * Then nothing changed.
   */
  attach(group: IommuGroup): void {
    runDirect(this.attachFlow(group));
  }

  /** `attach` as a path that may wait. */
  *attachFlow(group: IommuGroup): Flow<void> {
    const { space, machine } = this;
    const { devices, geometry } = group;
    if (space.invalidVaddrs > 0) fail('EBUSY');
    // From now on no mapping is made that the new domain could not take.
    space.constrain(group, geometry);
    try {
      if (!geometry.interruptRemapping && !machine.allowUnsafeInterrupts) fail('EPERM');
      yield* this.pinForNonFaultingDevices(devices);
    } catch (error) {
      space.relax(group);
      throw error;
    }
    const domain = this.domainFor(geometry);
    this.domainOf.set(group, domain);
    try {
      yield* space.attachDevices(devices, { domain, handler: null, stage1: null });
    } catch (error) {
      yield* this.removeGroup(group);
      throw error;
    }
  }

  /** A group leaves; with the last one all mappings go. */
  detach(group: IommuGroup): void {
    runDirect(this.detachFlow(group));
  }

  /** `detach` as a path that may wait. */
  *detachFlow(group: IommuGroup): Flow<void> {
    const { mappings, pins } = this.space;
    yield* this.removeGroup(group);
    // What it may have written is told even though those that are left can write less.
    if (this.log !== null && pins.isUnscoped(group))
      for (const mapping of mappings)
        if (mapping.pinned) this.log.of(mapping).set(0, mapping.pages);
    pins.forgetGroup(group);
  }

  private *removeGroup(group: IommuGroup): Flow<void> {
    const domain = this.domainOf.get(group)!;
    yield* this.space.detachDevices(group.devices);
    this.domainOf.delete(group);
    if (domain.devices.length === 0 && ![...this.domainOf.values()].includes(domain))
      this.dropDomain(domain);
    this.space.relax(group);
  }

  /** All groups are gone. */
  release(): void {
    runDirect(this.space.iopf.release());
  }

  /**
   * IOPF on at SET_IOMMU, where the machine says so; devices that cannot leave the container with
   * static pins.
   */
  enableIopfByDefault(): void {
    const { iopf } = this.space;
    if (this.machine.iopf === 'auto' && iopf.everyDeviceCan) runDirect(iopf.enable());
  }

  /** `IoSpace.map`; EINVAL: too large for the dirty log. */
  map(mapping: Mapping): void {
    this.space.map(mapping);
    if (this.log === null || mapping.pages <= DIRTY_BITMAP_PAGES_MAX) return;
    this.space.unmap(mapping);
    fail('EINVAL');
  }

  /** EINVAL where a mapping is too large; then no log is kept. On already: nothing happens. */
  startDirtyLog(): void {
    if (this.log !== null) return;
    for (const mapping of this.space.mappings)
      if (mapping.pages > DIRTY_BITMAP_PAGES_MAX) fail('EINVAL');
    this.log = new DirtyLog();
    this.space.startLog(this.log);
  }

  stopDirtyLog(): void {
    if (this.log === null) return;
    this.space.stopLog(this.log);
    this.log = null;
    this.residues = new WeakMap();
  }

  /**
   * Some device may write pages that no driver has pinned: all of a mapping that is pinned may be
   * dirty.
   */
  get writesAnywhere(): boolean {
    for (const group of this.domainOf.keys()) if (this.space.pins.isUnscoped(group)) return true;
    return false;
  }

  /**
   * A device that cannot fault joins a container which is on by default: it goes back to static
   * pins. ENOMEM, EFAULT.
   */
  private *pinForNonFaultingDevices(devices: readonly IommuDevice[]): Flow<void> {
    if (this.machine.iopf !== 'auto' || devices.every((device) => device.canFault)) return;
    yield* this.space.iopf.disable();
  }

  private domainFor(geometry: IommuProperties): Domain {
    const { space, nesting, machine } = this;
    const known = space.domains.find((domain) => areAlike(domain.geometry, geometry));
    if (known) return known;
    const domain = this.machine.engine.domain({
      geometry,
      nested: nesting,
      writableIsReadable: machine.kernel.pinnedIsReadable,
      observer: machine.observer,
    });
    space.addDomain(domain);
    return domain;
  }

  /** The last domain takes the mappings along, unlike an I/O address space's. */
  private dropDomain(domain: Domain): void {
    const { space } = this;
    if (space.domains.length === 1) for (const mapping of space.mappings) space.unmap(mapping);
    space.removeDomain(domain);
  }
}
