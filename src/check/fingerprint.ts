/** What a world holds, as numbers: one for each of its sides. */
import type { IommuDevice } from '../iommu/device.js';
import type { DeviceFaultHandler } from '../iommu/page-request.js';
import { READ, WRITE } from '../mm/address-space.js';
import { Digest } from './digest.js';
import { foreignHandler } from './foreign-handler.js';
import { IOVA, VADDR } from './operation.js';
import type { World } from './world.js';

export class Fingerprint {
  private readonly digest = new Digest();

  constructor(private readonly world: World) {}

  /** A digest of all that a path can see of the container's side; what paths hold in their locals is not in it. */
  ofContainerSide(): number {
    const { digest, world } = this;
    const { pageIns } = world.type1.iopf!.handler;
    digest.begin();
    this.addContainer();
    for (let i = 0; i < pageIns.length; i++) digest.add(pageIns[i]!.stale ? 1 : 0);
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
      for (let page = 0; page < pages; page++) digest.add(mm.stateAt(VADDR + page));
      digest.add(mm.reclaimsFrom);
    }
    world.memory.addTo(digest);
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
    const { type1, programs } = this.world;
    let history = type1.iopf!.handler.generation;
    for (let i = 0; i < programs.length; i++) history = history * 64 + programs[i]!.mm.invalidations;
    return history;
  }

  private addContainer(): void {
    const { digest, world } = this;
    const { type1, pages, devices, programs } = world;
    const iopf = type1.iopf!;
    digest.add(
      (world.closed ? 1 : 0) |
        (iopf.enabled ? 2 : 0) |
        (iopf.changing ? 4 : 0) |
        (type1.dirtyTracking ? 8 : 0),
    );
    digest.add(iopf.watchedSpaces);
    const { pageIns } = iopf.handler;
    for (let i = 0; i < pageIns.length; i++) digest.add(pageIns[i]!.mapping.iovaPage + pageIns[i]!.index);
    for (let i = 0; i < type1.domains.length; i++) {
      const domain = type1.domains[i]!;
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
    this.addMappings();
    for (let i = 0; i < programs.length; i++) {
      const { mm } = programs[i]!;
      digest.add(mm.notifierCount);
      digest.add(mm.lockedPages);
    }
    digest.add(world.memory.pinned);
  }

  private addMappings(): void {
    const { digest } = this;
    const { mappings } = this.world.type1;
    for (let mapping = mappings.firstFrom(0); mapping !== null; mapping = mappings.after(mapping)) {
      digest.add(mapping.iovaPage * 8 + mapping.permission);
      digest.add(mapping.vaddrPage * 8 + mapping.mm.id);
      digest.add(
        mapping.pages * 16 +
          (mapping.pinned ? 1 : 0) +
          (mapping.pinnedByFlag ? 2 : 0) +
          (mapping.dirty === null ? 4 : 0) +
          (mapping.vaddrInvalid ? 8 : 0),
      );
      digest.add(mapping.lockedPages);
      const { mapped, dirty, driverPins } = mapping;
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
    queue.addTo(digest);
    const faults = world.devices[index]!.faultQueue;
    if (faults !== null) digest.add(faults.unread * 64 + faults.unanswered + 1);
    const { iotlb } = device;
    for (let page = IOVA; page < IOVA + world.pages; page++) {
      digest.add(iotlb.lookup(page, READ) * 4096 + iotlb.lookup(page, WRITE));
    }
  }

  private handlerKind(handler: DeviceFaultHandler | null): number {
    if (handler === null) return 0;
    return handler === this.world.type1.iopf!.handler ? 1 : handler === foreignHandler ? 2 : 3;
  }
}
