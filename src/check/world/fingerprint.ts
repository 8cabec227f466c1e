/** What a world holds, as numbers: one for each of its sides. */

import type { DirtyLog } from '../../ioas/dirty-log.js';
import type { IoSpace } from '../../ioas/io-space.js';
import type { IommuDevice } from '../../iommu/device.js';
import type { FaultQueue } from '../../iommu/fault-queue.js';
import type { IommuGroup } from '../../iommu/group.js';
import type { DeviceFaultHandler, Fault, FaultLevel } from '../../iommu/page-request.js';
import type { PageRequestQueue } from '../../iommu/page-request-queue.js';
import { READ, WRITE } from '../../mm/address-space.js';
import type { SimulatedSpace } from '../../mm/simulated.js';
import type { SimulatedMemory } from '../../mm/simulated-memory.js';
import type { Type1 } from '../../vfio/type1/type1.js';
import { Digest } from './digest.js';
import { foreignHandler } from './foreign-handler.js';
import type { Iommufd } from './iommufd.js';
import { IOVA, NAMED_IDS, VADDR } from './operation.js';

const LEVELS: readonly FaultLevel[] = ['flat', 'stage1', 'stage2'];

interface AddsItself {
  addTo(digest: Digest): void;
}

/** What a fingerprint is taken of: `World`. */
interface Fingerprinted {
  readonly type1: Type1;
  readonly space: IoSpace;
  readonly memory: SimulatedMemory;
  readonly programs: readonly { readonly mm: SimulatedSpace }[];
  readonly devices: readonly {
    readonly iommu: IommuDevice;
    readonly faultQueue: FaultQueue | null;
  }[];
  readonly groups: readonly IommuGroup[];
  readonly inContainer: ReadonlySet<IommuGroup>;
  readonly drivers: readonly AddsItself[];
  readonly firstStages: readonly (AddsItself | undefined)[];
  readonly ledger: AddsItself;
  readonly pages: number;
  readonly closed: boolean;
  readonly iommufd: Iommufd | null;
  numberOf(device: IommuDevice): number;
}

export class Fingerprint {
  private readonly digest = new Digest();

  constructor(
    private readonly world: Fingerprinted,
    private readonly watch: AddsItself | null,
  ) {}

  /**
   * A digest of all that a path can see of the container's side; what paths hold in their locals is
   * not in it.
   */
  ofContainerSide(): number {
    const { digest, world } = this;
    digest.begin();
    this.addContainer();
    this.addPageIns(world.space);
    if (world.iommufd !== null)
      for (const { space } of world.iommufd.spaces()) this.addPageIns(space);
    world.ledger.addTo(digest);
    return digest.value;
  }

  /** A digest of all that a path can see of the memory's side. */
  ofMemorySide(): number {
    const { digest, world } = this;
    const { programs, pages } = world;
    digest.begin();
    for (let i = 0; i < programs.length; i++) {
      const { mm } = programs[i]!;
      for (let page = 0; page < pages; page++) this.addPage(mm, VADDR + page);
      digest.add(mm.reclaimsFrom);
    }
    this.addFrames(world.memory);
    return digest.value;
  }

  /** A digest of what is the container's, its devices' and in the programs' accounts. */
  ofContainer(): number {
    this.digest.begin();
    this.addContainer();
    return this.digest.value;
  }

  /** How often what page-ins rely on has changed; only differences of it matter. */
  get history(): number {
    const { space, programs, iommufd } = this.world;
    let history = space.iopf.handler.generation;
    if (iommufd !== null)
      for (const ioas of iommufd.spaces())
        history = history * 0x100 + ioas.space.iopf.handler.generation;
    for (let i = 0; i < programs.length; i++)
      history = history * 0x10000 + programs[i]!.mm.invalidations;
    return history;
  }

  private addContainer(): void {
    const { digest, world } = this;
    const { type1, space, pages, devices, programs } = world;
    const iopf = space.iopf;
    digest.add(
      (world.closed ? 1 : 0) |
        (iopf.enabled ? 2 : 0) |
        (iopf.changing ? 4 : 0) |
        (type1.log !== null ? 8 : 0),
    );
    digest.add(iopf.watchedSpaces);
    // They are gone through in these orders.
    for (const group of world.inContainer) digest.add(group.number);
    for (let i = 0; i < iopf.enabledDevices.length; i++)
      digest.add(world.numberOf(iopf.enabledDevices[i]!));
    for (let i = 0; i < world.groups.length; i++)
      digest.add(space.pins.isUnscoped(world.groups[i]!) ? 1 : 0);
    digest.add(iopf.handler.pageIns.length);
    for (let i = 0; i < space.domains.length; i++) {
      const domain = space.domains[i]!;
      digest.add(domain.geometry.addressWidth);
      for (let page = IOVA; page < IOVA + pages; page++) {
        digest.add(domain.frameAt(page) * 4 + domain.permissionAt(page));
      }
    }
    const { drivers, firstStages } = world;
    for (let i = 0; i < drivers.length; i++) drivers[i]!.addTo(digest);
    for (let i = 0; i < firstStages.length; i++) firstStages[i]?.addTo(digest);
    for (let i = 0; i < devices.length; i++) {
      const { iommu } = devices[i]!;
      this.addDevice(iommu, i);
      // ENABLE goes through a group in the order of the bus.
      digest.add(iommu.group!.devices.indexOf(iommu));
    }
    this.addMappings(space, type1.log);
    if (world.iommufd !== null) this.addIommufd(world.iommufd);
    for (let i = 0; i < programs.length; i++) {
      const { mm } = programs[i]!;
      digest.add(mm.notifierCount);
      digest.add(mm.lockedPages);
    }
    digest.add(world.memory.pinned);
    this.watch?.addTo(digest);
  }

  /** What decides how a page is brought in. */
  private addPage(mm: SimulatedSpace, page: number): void {
    const entry = (mm.frameAt(page) + 1) * 4 + mm.bitsAt(page);
    const protection = mm.isMapped(page) ? mm.protectionAt(page) : 4;
    const state = (entry * 2 + (mm.isSwapped(page) ? 1 : 0)) * 8 + protection;
    this.digest.add(state * 16 + mm.invalidationsOf(page));
  }

  /** What decides which frames come next, and who has them. */
  private addFrames(memory: SimulatedMemory): void {
    const { digest } = this;
    const { freeFrames, framesEnd } = memory;
    digest.add(memory.used);
    digest.add(memory.nextSource);
    for (let i = 0; i < freeFrames.length; i++) digest.add(freeFrames[i]!);
    for (let frame = 1; frame < framesEnd; frame++) {
      const ofFile = memory.isOfFile(frame) ? 1 : 0;
      digest.add(memory.ownersOf(frame) * 256 + memory.pinsOf(frame) * 2 + ofFile);
    }
  }

  /**
   * Page-ins under way: who comes to the same page waits for one of a mapping that is still there.
   */
  private addPageIns(space: IoSpace): void {
    const { digest } = this;
    const { handler } = space.iopf;
    for (let i = 0; i < handler.pageIns.length; i++) {
      const { mapping, index, window, stale } = handler.pageIns[i]!;
      const isThere = handler.covering(mapping.iovaPage + index) === mapping;
      digest.add(mapping.iovaPage + index);
      digest.add(mapping.vaddrPage * 8 + mapping.mm.id);
      digest.add(window * 4 + (stale ? 2 : 0) + (isThere ? 1 : 0));
    }
  }

  /** A device's own ids only tell its requests apart. */
  private addQueue(queue: PageRequestQueue): void {
    const { digest } = this;
    const { nextGroup, pendingGroups, partialRequests } = queue;
    if (nextGroup >= NAMED_IDS) digest.add(nextGroup);
    for (let i = 0; i < pendingGroups.length; i++) {
      const { requests } = pendingGroups[i]!;
      for (let j = 0; j < requests.length; j++) this.addRequest(requests[j]!, nextGroup);
    }
    for (let i = 0; i < partialRequests.length; i++)
      this.addRequest(partialRequests[i]!, nextGroup);
  }

  private addRequest(
    { iovaPage, access, pasid, group, level, last }: Fault,
    nextGroup: number,
  ): void {
    const { digest } = this;
    digest.add(iovaPage * 16 + access);
    digest.add((pasid * 4 + LEVELS.indexOf(level)) * 2 + (last ? 1 : 0));
    digest.add(group < NAMED_IDS && nextGroup < NAMED_IDS ? 0 : group);
  }

  /** The same of each IOAS, and its objects. */
  private addIommufd(iommufd: Iommufd): void {
    const { digest, world } = this;
    iommufd.addTo(digest, (device) => world.numberOf(device));
    for (const { id, space } of iommufd.spaces()) {
      const { iopf, domains, logs } = space;
      digest.add(id * 4 + (iopf.enabled ? 1 : 0) + (iopf.changing ? 2 : 0));
      digest.add(iopf.watchedSpaces * 64 + iopf.handler.pageIns.length);
      for (const device of iopf.enabledDevices) digest.add(world.numberOf(device));
      for (const domain of domains)
        for (let page = IOVA; page < IOVA + world.pages; page++)
          digest.add(domain.frameAt(page) * 4 + domain.permissionAt(page));
      for (const { iommu } of world.devices)
        digest.add(
          (iommu.domain === null ? -1 : domains.indexOf(iommu.domain)) * 2 +
            (iommu.handlers.flat === iopf.handler ? 1 : 0),
        );
      this.addMappings(space, null);
      for (const log of logs) this.addMappings(space, log);
    }
  }

  private addMappings({ mappings }: IoSpace, log: DirtyLog | null): void {
    const { digest } = this;
    for (let mapping = mappings.firstFrom(0); mapping !== null; mapping = mappings.after(mapping)) {
      digest.add(mapping.iovaPage * 8 + mapping.permission);
      digest.add(mapping.vaddrPage * 8 + mapping.mm.id);
      digest.add(
        mapping.pages * 16 +
          (mapping.pinned ? 1 : 0) +
          (mapping.pinnedByFlag ? 2 : 0) +
          (log === null ? 4 : 0) +
          (mapping.vaddrInvalid ? 8 : 0),
      );
      digest.add(mapping.source.lockedPages);
      const { mapped, driverPins } = mapping;
      const dirty = log === null ? null : log.of(mapping);
      if (driverPins !== null)
        for (const [index, { frame, references }] of driverPins)
          digest.add((frame * 16 + index) * 16 + references);
      for (let i = 0; i < mapping.pages; i++) {
        digest.add((mapped.test(i) ? 1 : 0) | (dirty?.test(i) ? 2 : 0));
      }
    }
  }

  private addDevice(device: IommuDevice, index: number): void {
    const { digest, world } = this;
    const { handlers, queue } = device;
    digest.add(
      (device.iopfEnabled ? 1 : 0) |
        (device.domain === null ? 2 : 0) |
        (this.handlerKind(handlers.flat) << 2) |
        (this.handlerKind(handlers.stage1) << 4) |
        (this.handlerKind(handlers.stage2) << 6),
    );
    digest.add(device.handlersInside * 4096 + queue.pendingCount * 64 + queue.partialCount);
    this.addQueue(queue);
    const faults = world.devices[index]!.faultQueue;
    if (faults !== null) addFaultQueue(digest, faults);
    const { iotlb } = device;
    for (let page = IOVA; page < IOVA + world.pages; page++) {
      digest.add(iotlb.lookup(page, READ) * 4096 + iotlb.lookup(page, WRITE));
    }
  }

  private handlerKind(handler: DeviceFaultHandler | null): number {
    if (handler === null) return 0;
    return handler === this.world.space.iopf.handler ? 1 : handler === foreignHandler ? 2 : 3;
  }
}

/** Adds what decides the next answers of a fault queue. */
export function addFaultQueue(
  digest: Digest,
  { unread, unanswered, cookie, isClosed }: FaultQueue,
): void {
  digest.add((unread * 64 + unanswered) * 2 + (isClosed ? 1 : 0));
  digest.add(cookie);
}
