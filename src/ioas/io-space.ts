/**
 * An I/O address space: mappings, and the domains in which devices find them (kernel: struct
 * io_pagetable, struct vfio_iommu). One engine; type1 containers are a front end of it.
 *
 * Terms: a mapping is *pinned* (all of its pages pinned, charged and present in every domain) or
 * *faulted in* page by page. Without a domain nothing is pinned: the first domain that comes to a
 * space in mode `pin` pins all.
 */
import { fail } from '../abi/errno.js';
import type { Flow } from '../flow/flow.js';
import type { Attachment, IommuDevice } from '../iommu/device.js';
import type { Domain } from '../iommu/domain.js';
import type { IommuProperties } from '../iommu/geometry.js';
import type { PageRange } from '../iommu/group.js';
import type { Counters, Observer } from '../iommu/observer.js';
import type { AddressSpace } from '../mm/address-space.js';
import { AnsweringPrograms, checkCanWait } from './answering-programs.js';
import type { DirtyLog } from './dirty-log.js';
import { DriverPinning, type PinnableSpace } from './driver-pins.js';
import type { IopfBackend } from './iopf/backend.js';
import { Iopf } from './iopf/iopf.js';
import type { PremapPolicy } from './iopf/premap.js';
import { commonRanges, rangesCover } from './iova-ranges.js';
import type { Mapping } from './mapping.js';
import { MappingIndex } from './mapping-index.js';
import { dropPins, mapPins, pinWhole, unpinWhole } from './pinning.js';

export interface IoSpaceOptions {
  readonly counters: Counters;
  readonly observer: Observer | null;
  /** Pages brought in per fault (R4.1). */
  readonly premapPages: number;
  /** Decides how many instead; null: `premapPages`. */
  readonly premap: PremapPolicy | null;
  /** False: device drivers are answered EACCES, as by a type1 of version 1. */
  readonly driversMayPin: boolean;
  /** The object of an iommufd whose addresses these are; absent: they are a container's. */
  readonly ioas?: { readonly id: number };
}

/** What a space is made of. */
export interface IoSpaceParts {
  readonly Iopf: typeof Iopf;
  readonly DriverPinning: typeof DriverPinning;
}

/** Hears which mappings a space has, one that keeps its own copy of them. */
export interface MappingListener {
  mapped(mapping: Mapping): void;
  /** It is about to go: when this returns the listener uses it no more. */
  unmapping(mapping: Mapping): void;
}

const shipped: IoSpaceParts = { Iopf, DriverPinning };

export class IoSpace implements IopfBackend, PinnableSpace {
  readonly counters: Counters;
  readonly driversMayPin: boolean;
  /** As `IoSpaceOptions.ioas`. */
  readonly ioas: { readonly id: number } | null;
  readonly mappings = new MappingIndex();
  readonly domains: Domain[] = [];
  readonly logs: DirtyLog[] = [];
  /** What device drivers pin (R6.2). */
  readonly pins: DriverPinning;
  readonly iopf: Iopf;
  /** IOVAs that can be mapped, in order; none where nobody constrains them. */
  ranges: readonly PageRange[] = [];
  /** Mappings whose address is invalid at the moment (kernel: vaddr_invalid_count). */
  invalidVaddrs = 0;
  /** In order of attachment. */
  private readonly attached: IommuDevice[] = [];
  private readonly programs = new AnsweringPrograms();
  private readonly observer: Observer | null;
  private readonly constraints = new Map<object, IommuProperties>();
  private readonly listeners: MappingListener[] = [];

  constructor(options: IoSpaceOptions, parts: IoSpaceParts = shipped) {
    const { premapPages, premap, observer } = options;
    this.counters = options.counters;
    this.driversMayPin = options.driversMayPin;
    this.ioas = options.ioas ?? null;
    this.observer = observer;
    this.pins = new parts.DriverPinning(this);
    this.iopf = new parts.Iopf(this, { premapPages, premap, observer });
  }

  /** The attached devices, by domain and group; a group's in the group's own order. */
  devices(): readonly IommuDevice[] {
    return this.domains.flatMap((domain) => {
      const devices = this.attached.filter((device) => device.domain === domain);
      const groups = new Set(devices.map((device) => device.group));
      const grouped = [...groups].flatMap((group) => group?.devices ?? []);
      return [...devices.filter((device) => device.group === null), ...grouped];
    });
  }

  /** Page sizes that all domains have, bit n for 2^n bytes. */
  get pageSizes(): number {
    return this.domains.reduce((sizes, domain) => sizes & domain.geometry.pageSizes, 0x7fff_f000);
  }

  /**
   * Restricts mappings to what an IOMMU can map, until `owner` relaxes that. EINVAL: a mapping lies
   * outside; then nothing has changed.
   */
  constrain(owner: object, geometry: IommuProperties): void {
    const ranges = commonRanges([...this.constraints.values(), geometry]);
    for (const mapping of this.mappings)
      if (!rangesCover(ranges, mapping.iovaPage, mapping.iovaEnd)) fail('EINVAL');
    this.constraints.set(owner, geometry);
    this.ranges = ranges;
  }

  relax(owner: object): void {
    this.constraints.delete(owner);
    this.ranges = commonRanges([...this.constraints.values()]);
  }

  /**
   * Adds a domain and maps in it what is pinned. In mode `pin` the first one pins all mappings:
   * EFAULT, ENOMEM; then nothing has changed.
   */
  addDomain(domain: Domain): void {
    if (this.domains.length === 0) {
      this.addFirstDomain(domain);
      return;
    }
    for (const mapping of this.mappings) {
      if (mapping.pinned) mapPins(mapping, domain);
      else this.pins.mapInto(mapping, [domain]);
    }
    this.domains.push(domain);
  }

  /** Removes a domain without devices; with the last one all pins go, and mappings stay. */
  removeDomain(domain: Domain): void {
    if (this.domains.length === 1) {
      for (const mapping of this.mappings) {
        if (!mapping.pinned) continue;
        this.dropPinned(mapping);
        this.pins.afterWholeUnpin(mapping);
        this.iopf.mappingAdded(mapping);
      }
    }
    this.domains.splice(this.domains.indexOf(domain), 1);
    this.iopf.domainRemoved();
  }

  /**
   * Devices go through a domain of the space from now on, and ask for pages where it faults. Fails
   * as switching page requests on does (R5.5); then they are in the domain, with page requests off.
   * `handler`: a program answers instead, and nobody else; ENODEV: a device cannot wait for it, or
   * for the guest of a first stage, and then nothing has changed.
   */
  *attachDevices(
    devices: readonly IommuDevice[],
    { domain, handler, stage1 }: Attachment,
  ): Flow<void> {
    checkCanWait(devices, handler, stage1?.queue ?? null);
    for (const device of devices) {
      device.attach(domain);
      this.attached.push(device);
      if (stage1 !== null) device.attachStage1(stage1);
      if (handler !== null) this.programs.begin(device, handler);
    }
    if (handler === null) yield* this.iopf.devicesAttached(devices);
    this.programs.askGuests(this.attached);
  }

  /** Devices leave their domain; none of their page requests is left (R5.6). */
  *detachDevices(devices: readonly IommuDevice[]): Flow<void> {
    for (const device of devices) yield* device.detachStage1();
    yield* this.iopf.devicesDetaching(devices);
    for (const device of devices) {
      yield* this.programs.leave(device);
      device.detach();
      this.attached.splice(this.attached.indexOf(device), 1);
    }
  }

  /**
   * Devices go to a domain of a space, this one or another, each in one step: there is no moment
   * without a domain, and what is outstanding is answered INVALID. Ends when no handler of this
   * space is at work for them. `to`: see `attachDevices`. ENODEV: a device cannot wait; then
   * nothing has changed.
   */
  moveDevices(devices: readonly IommuDevice[], space: IoSpace, to: Attachment): Flow<void> {
    return this.iopf.whileTheyMove(space.iopf, this.changeDomain(devices, space, to));
  }

  /** `Iopf.enable`; guests go on answering for their first stages. */
  *leaveToFaults(): Flow<void> {
    if (this.iopf.enabled) return;
    yield* this.programs.leaveGuests();
    try {
      yield* this.iopf.enable();
    } finally {
      this.programs.askGuests(this.attached);
    }
  }

  /** `Iopf.disable`; guests go on answering for their first stages. */
  *pinAll(): Flow<void> {
    yield* this.iopf.disable();
    this.programs.askGuests(this.attached);
  }

  /** Adds a mapping that overlaps none: pinned, or left to faults. ENOMEM, EFAULT. */
  map(mapping: Mapping): void {
    const faults = this.iopf.mode === 'fault' && !mapping.pinnedByFlag;
    if (faults || this.domains.length === 0) this.iopf.mappingAdded(mapping);
    else this.pinMapping(mapping);
    this.mappings.insert(mapping);
    this.counters.addMapped(mapping.pages);
    this.observer?.mappingAdded?.(mapping);
    for (let i = 0; i < this.logs.length; i++) this.logs[i]!.add(mapping);
    for (let i = 0; i < this.listeners.length; i++) this.listeners[i]!.mapped(mapping);
  }

  /** A mapping goes; drivers that have pinned pages of it are told first. */
  unmap(mapping: Mapping): void {
    this.pins.unmapping(mapping);
    for (let i = 0; i < this.listeners.length; i++) this.listeners[i]!.unmapping(mapping);
    this.mappings.remove(mapping);
    if (this.invalidVaddrs !== 0 && mapping.vaddrInvalid) this.invalidVaddrs--;
    this.counters.addMapped(-mapping.pages);
    this.observer?.mappingRemoved?.(mapping);
    if (mapping.pinned) this.dropPinned(mapping);
    else this.iopf.mappingRemoved(mapping);
    for (let i = 0; i < this.logs.length; i++) this.logs[i]!.remove(mapping);
  }

  /** The address of a mapping leads nowhere until it is moved. */
  invalidateVaddr(mapping: Mapping): void {
    mapping.vaddrInvalid = true;
    this.invalidVaddrs++;
  }

  /**
   * Gives a mapping with an invalid address a new one. It shares its memory with no other mapping.
   */
  move(mapping: Mapping, mm: AddressSpace, vaddrPage: number): void {
    const { source } = mapping;
    const watched = !mapping.pinned;
    for (const listener of this.listeners) listener.unmapping(mapping);
    this.observer?.mappingRemoved?.(mapping);
    if (watched) this.iopf.mappingRemoved(mapping);
    source.mm = mm;
    source.vaddrPage = vaddrPage;
    mapping.mm = mm;
    mapping.vaddrPage = vaddrPage;
    if (watched) this.iopf.mappingAdded(mapping);
    this.observer?.mappingAdded?.(mapping);
    mapping.vaddrInvalid = false;
    this.invalidVaddrs--;
    for (const listener of this.listeners) listener.mapped(mapping);
  }

  /** The listener hears of all mappings now, and of each that comes and goes. */
  listen(listener: MappingListener): void {
    for (const mapping of this.mappings) listener.mapped(mapping);
    this.listeners.push(listener);
  }

  /** It hears no more; to it, all mappings go. */
  stopListening(listener: MappingListener): void {
    this.listeners.splice(this.listeners.indexOf(listener), 1);
    for (const mapping of this.mappings) listener.unmapping(mapping);
  }

  /** Every page is clean from now on, but for what is pinned by drivers (R6.3). */
  startLog(log: DirtyLog): void {
    for (const mapping of this.mappings) {
      log.add(mapping);
      this.pins.markDirty(mapping, [log]);
    }
    this.logs.push(log);
    this.iopf.dirtyStarted();
  }

  stopLog(log: DirtyLog): void {
    this.logs.splice(this.logs.indexOf(log), 1);
    this.iopf.dirtyStopped();
  }

  /** A mapping's dirty pages were reported: they are clean. */
  restartLog(log: DirtyLog, mapping: Mapping): void {
    this.iopf.dirtyReported(log, mapping, 0, mapping.pages);
    this.pins.markDirty(mapping, [log]);
  }

  pinMapping(mapping: Mapping): void {
    this.pins.beforeWholePin(mapping);
    try {
      this.counters.addPinned(pinWhole(mapping, this.domains));
    } catch (error) {
      this.pins.wholePinFailed(mapping);
      throw error;
    }
    this.counters.addResident(mapping.pages);
  }

  unpinMapping(mapping: Mapping): void {
    this.counters.addPinned(-dropPins(mapping));
    this.pins.afterWholeUnpin(mapping);
  }

  /** No driver holds the page any more: from now on it is a page like any other. */
  pageUnpinned(mapping: Mapping, index: number): void {
    this.iopf.pageUnpinned(mapping, index);
  }

  private *changeDomain(
    devices: readonly IommuDevice[],
    space: IoSpace,
    { domain, handler: program, stage1 }: Attachment,
  ): Flow<void> {
    const handler = program ?? space.iopf.handlerOfNew;
    const guest = stage1?.queue ?? null;
    checkCanWait(devices, handler, guest);
    for (const device of devices) {
      this.iopf.deviceMoved(device, false);
      this.programs.forget(device);
      this.attached.splice(this.attached.indexOf(device), 1);
      // Off before the old handler goes, on only with the new one: `replace` begins in this step.
      if (handler === null && guest === null) device.disableIopf();
      else if (!device.iopfEnabled) device.enableIopf();
      space.attached.push(device);
      if (program === null && handler !== null) space.iopf.deviceMoved(device, true);
      else if (program !== null || guest !== null) space.programs.note(device, (program ?? guest)!);
      yield* device.replace({ domain, handler, stage1 });
    }
  }

  private addFirstDomain(domain: Domain): void {
    const pinned: Mapping[] = [];
    this.domains.push(domain);
    try {
      for (const mapping of this.mappings) {
        if (this.iopf.mode === 'fault' && !mapping.pinnedByFlag) {
          this.pins.mapInto(mapping, [domain]);
          continue;
        }
        this.pinMapping(mapping);
        pinned.push(mapping);
      }
    } catch (error) {
      for (const mapping of pinned) {
        this.dropPinned(mapping);
        this.pins.afterWholeUnpin(mapping);
      }
      this.domains.pop();
      throw error;
    }
    this.iopf.mappingsPinned(pinned);
  }

  private dropPinned(mapping: Mapping): void {
    this.counters.addPinned(-unpinWhole(mapping, this.domains));
    this.counters.addResident(-mapping.pages);
  }
}
