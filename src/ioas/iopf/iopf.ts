/**
 * The IOPF side of an I/O address space: switching it on and off, and what mappings, devices and
 * the dirty log mean to it.
 *
 * Order, everywhere (R5.2): up, handler then feature; down, feature off, drain, handler off.
 * Control paths are flows that keep one another out; page requests go on beside them (R2.3).
 */
import { Bug } from '../../abi/bug.js';
import { type Flow, FlowLock } from '../../flow/flow.js';
import type { IommuDevice } from '../../iommu/device.js';
import type { Observer } from '../../iommu/observer.js';
import type { AddressSpace } from '../../mm/address-space.js';
import { type DirtyLog, noteWritten } from '../dirty-log.js';
import type { Mapping } from '../mapping.js';
import type { IopfBackend } from './backend.js';
import { EnabledDevices } from './enabled-devices.js';
import { FaultHandler } from './fault-handler.js';
import type { PageIn } from './page-in.js';
import { FixedPremap, type PremapPolicy } from './premap.js';
import { ResidentPages } from './resident.js';
import { WatchedSpace } from './watched-space.js';

/** Pages that are compared at a time when pinned mappings become evictable. */
const ADOPT_PAGES = 512;

export interface IopfOptions {
  /** Pages that a fault brings in, its own included (R4.1): 1 to PREMAP_MOST. */
  readonly premapPages: number;
  /** Decides how many, instead. */
  readonly premap?: PremapPolicy | null;
  readonly observer?: Observer | null;
  readonly parts?: Partial<IopfParts>;
}

/** What the IOPF side is made of. */
export interface IopfParts {
  readonly ResidentPages: typeof ResidentPages;
  readonly EnabledDevices: typeof EnabledDevices;
  readonly PageIn: typeof PageIn;
}

export class Iopf {
  /** Whether mappings are left to faults from now on, or pinned (R6.1). */
  mode: 'fault' | 'pin' = 'pin';
  readonly handler: FaultHandler;
  private readonly resident: ResidentPages;
  private readonly spaces = new Map<AddressSpace, WatchedSpace>();
  private readonly devices: EnabledDevices;
  private readonly lock = new FlowLock('container');
  private readonly observer: Observer | null;

  constructor(
    private readonly backend: IopfBackend,
    options: IopfOptions,
  ) {
    const { parts = {} } = options;
    this.observer = options.observer ?? null;
    this.resident = new (parts.ResidentPages ?? ResidentPages)(backend);
    this.handler = new FaultHandler(
      backend,
      this.resident,
      options.premap ?? new FixedPremap(options.premapPages),
      this.observer,
      parts.PageIn,
    );
    this.devices = new (parts.EnabledDevices ?? EnabledDevices)(backend, this.handler);
  }

  /** The devices whose page requests this space answers, and no others (R5.3). */
  get enabledDevices(): readonly IommuDevice[] {
    return this.devices.list;
  }

  get enabled(): boolean {
    return this.mode === 'fault';
  }

  /** A control path is between two of its steps. */
  get changing(): boolean {
    return this.lock.isHeld;
  }

  get premapPages(): number {
    return this.handler.premapPages;
  }

  /** Address spaces that have a notifier of this space. */
  get watchedSpaces(): number {
    return this.spaces.size;
  }

  /** Whether every attached device can do page requests (VFIO_IOPF, R5.9). */
  get everyDeviceCan(): boolean {
    return this.backend.devices().every((device) => device.canFault);
  }

  /**
   * Switches IOPF on. Fails with the first device's errno (ENODEV, EBUSY), and then everything is
   * as before. What is pinned stays mapped and becomes evictable (R5.8). On already: nothing
   * happens.
   */
  *enable(): Flow<void> {
    yield* this.lock.acquire();
    try {
      if (this.enabled) return;
      yield* this.devices.switchOnAll(this.backend.devices());
      // In one step: a mapping made in between would stay pinned.
      this.mode = 'fault';
      for (const mapping of this.backend.mappings)
        if (mapping.pinned && !mapping.pinnedByFlag) this.adopt(mapping);
    } finally {
      this.lock.release();
    }
  }

  /**
   * Switches IOPF off: pins and maps everything, drains, takes the handlers off (R5.10). Throws
   * VfioError (ENOMEM, EFAULT) where that cannot be pinned or accounted, and then IOPF is on as
   * before. Off already: nothing happens.
   */
  *disable(): Flow<void> {
    yield* this.lock.acquire();
    try {
      if (!this.enabled) return;
      // Pages are pinned while faults are still answered, so that no access of a device is lost on
      // the way.
      this.pinAll();
      this.mode = 'pin';
      yield* this.devices.switchOffAll(this.devices.list.slice());
    } finally {
      this.lock.release();
    }
  }

  /**
   * Devices of a new group have got their domain: switches them on where IOPF is on (R5.5). Throws
   * VfioError where one cannot, and then none of them is on.
   */
  *devicesAttached(devices: readonly IommuDevice[]): Flow<void> {
    yield* this.lock.acquire();
    try {
      // An ENABLE that came in between has switched them on already.
      if (this.enabled)
        yield* this.devices.switchOnAll(
          devices.filter((device) => !this.devices.list.includes(device)),
        );
    } finally {
      this.lock.release();
    }
  }

  /**
   * Devices are about to leave their domain: no page request of theirs is left, and no handler is
   * inside (R5.6).
   */
  *devicesDetaching(devices: readonly IommuDevice[]): Flow<void> {
    yield* this.lock.acquire();
    try {
      yield* this.devices.switchOffAll(
        devices.filter((device) => this.devices.list.includes(device)),
      );
    } finally {
      this.lock.release();
    }
  }

  /**
   * Devices of this space go to another, or to another domain of this one: no control path of
   * either comes in between.
   */
  *whileTheyMove(to: Iopf, move: Flow<void>): Flow<void> {
    yield* this.lock.acquireWith(to.lock);
    try {
      yield* move;
    } finally {
      this.lock.release();
      to.lock.release();
    }
  }

  /** Who answers the page requests of a device that comes now; null: nobody. */
  get handlerOfNew(): FaultHandler | null {
    return this.enabled ? this.handler : null;
  }

  /** A device has left with its page requests, or come with them. */
  deviceMoved(device: IommuDevice, isHere: boolean): void {
    this.devices.moved(device, isHere);
  }

  /** A domain has left the space with all that was mapped in it. */
  domainRemoved(): void {
    for (const mapping of this.backend.mappings) this.resident.forgetAbsent(mapping);
  }

  /** A mapping that is not pinned is about to enter the index: its memory is watched. */
  mappingAdded(mapping: Mapping): void {
    this.watch(mapping);
  }

  /**
   * A mapping that is not pinned has left the index, or its address is about to change: nothing of
   * it stays mapped.
   */
  mappingRemoved(mapping: Mapping): void {
    this.resident.dropAll(mapping);
    this.unwatch(mapping);
  }

  /**
   * The dirty log starts: every page is dropped, so that the first write to each is seen (R6.3).
   * The log has bitmaps already.
   */
  dirtyStarted(): void {
    this.handler.generation++;
    for (const mapping of this.backend.mappings)
      if (!mapping.pinned) this.resident.dropAll(mapping);
  }

  /**
   * Dirty pages in [index, index + count) of a mapping were reported: they are clean, and their
   * next write is seen again.
   */
  dirtyReported(log: DirtyLog, mapping: Mapping, index: number, count: number): void {
    const dirty = log.of(mapping);
    const end = index + count;
    for (let at = dirty.nextSet(index, end); at < end; ) {
      const stop = dirty.nextClear(at, end);
      if (!mapping.pinned) this.resident.drop(mapping, at, stop - at);
      dirty.clear(at, stop - at);
      at = dirty.nextSet(stop, end);
    }
    // A page-in that is under way may map a page as written that has just been reported clean.
    this.handler.generation++;
  }

  /** A page that no driver holds any more is as any other, and not present. */
  pageUnpinned(mapping: Mapping, index: number): void {
    this.resident.drop(mapping, index, 1);
  }

  dirtyStopped(): void {
    this.handler.generation++;
  }

  /**
   * The space ends: its devices are quiet and its mappings are gone; no notifier or page request is
   * left (R5.11).
   */
  *release(): Flow<void> {
    yield* this.lock.acquire();
    try {
      yield* this.devices.switchOffAll(this.devices.list.slice());
      this.mode = 'pin';
      if (this.spaces.size !== 0)
        throw new Bug('notifiers are left at release', { spaces: this.spaces.size });
    } finally {
      this.lock.release();
    }
  }

  /**
   * Pins every mapping; where one cannot be, those before it become evictable again and the error
   * goes on.
   */
  private pinAll(): void {
    // Without a domain the first one pins all.
    if (this.backend.domains.length === 0) return;
    const pinned: Mapping[] = [];
    try {
      for (const mapping of this.backend.mappings) {
        if (mapping.pinned) continue;
        this.resident.dropAll(mapping);
        this.backend.pinMapping(mapping);
        pinned.push(mapping);
      }
    } catch (error) {
      for (const mapping of pinned) this.evictable(mapping);
      throw error;
    }
    this.mappingsPinned(pinned);
  }

  /** Mappings were left to faults until now. */
  mappingsPinned(mappings: readonly Mapping[]): void {
    // From now on nobody tells a page-in that is under way what goes.
    this.handler.generation++;
    for (const mapping of mappings) this.unwatch(mapping);
  }

  /** R5.8: a pinned mapping loses its pins and stays mapped, notifier first. */
  private adopt(mapping: Mapping): void {
    this.watch(mapping);
    this.evictable(mapping);
  }

  private evictable(mapping: Mapping): void {
    mapping.mapped.set(0, mapping.pages);
    this.backend.unpinMapping(mapping);
    if (this.handler.dirtyTracking) {
      // Until now nobody watched writes: any page may have been written.
      noteWritten(this.backend.logs, mapping, 0, mapping.pages);
      this.resident.dropAll(mapping);
    } else if (mapping.vaddrInvalid) this.resident.dropAll(mapping);
    else this.dropReplaced(mapping);
  }

  /**
   * A pin may have kept a frame that its process has replaced since; a translation to such a frame
   * goes.
   */
  private dropReplaced(mapping: Mapping): void {
    const frames = new Float64Array(ADOPT_PAGES);
    for (let index = 0; index < mapping.pages; ) {
      const count = Math.min(ADOPT_PAGES, mapping.pages - index);
      const got = Math.max(
        0,
        mapping.mm.pageIn(mapping.vaddrPage + index, count, mapping.permission, frames),
      );
      for (let i = 0; i < got; i++) {
        if (!this.resident.isMappedTo(mapping, index + i, frames[i]!))
          this.resident.drop(mapping, index + i, 1);
      }
      index += got;
      if (got === count) continue;
      this.resident.drop(mapping, index, 1);
      index++;
    }
  }

  private watch(mapping: Mapping): void {
    let space = this.spaces.get(mapping.mm);
    if (space === undefined) {
      space = new WatchedSpace(
        mapping.mm,
        this.resident,
        this.handler,
        this.backend.counters,
        this.observer,
      );
      this.spaces.set(mapping.mm, space);
    }
    space.add(mapping);
  }

  private unwatch(mapping: Mapping): void {
    const space = this.spaces.get(mapping.mm);
    if (space === undefined)
      throw new Bug('mapping is not watched', { iovaPage: mapping.iovaPage });
    space.remove(mapping);
    if (!space.unused) return;
    space.close();
    this.spaces.delete(mapping.mm);
  }
}
