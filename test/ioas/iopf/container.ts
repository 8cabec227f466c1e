import { Errno, VfioError } from '../../../src/abi/errno.js';
import { runDirect } from '../../../src/flow/direct.js';
import type { IopfBackend } from '../../../src/ioas/iopf/backend.js';
import { Iopf } from '../../../src/ioas/iopf/iopf.js';
import { Mapping } from '../../../src/ioas/mapping.js';
import { MappingIndex } from '../../../src/ioas/mapping-index.js';
import { IommuDevice, type IommuDeviceOptions } from '../../../src/iommu/device.js';
import { Domain, type DomainOptions } from '../../../src/iommu/domain.js';
import { Counters } from '../../../src/iommu/observer.js';
import { type AddressSpace, READ, WRITE } from '../../../src/mm/address-space.js';
import { SimulatedSpace, type SimulatedSpaceOptions } from '../../../src/mm/simulated.js';
import { SimulatedMemory } from '../../../src/mm/simulated-memory.js';

export const RW = READ | WRITE;

/** The least backend that the IOPF side of a container can run on, over simulated memory. */
export class TestContainer implements IopfBackend {
  readonly counters = new Counters();
  readonly memory = new SimulatedMemory();
  readonly mm: SimulatedSpace;
  readonly domains: Domain[] = [];
  readonly mappings = new MappingIndex();
  readonly attached: IommuDevice[] = [];
  readonly iopf: Iopf;
  /** Pins of pages above this fail with ENOMEM. */
  lockLimitPages = Number.POSITIVE_INFINITY;
  private readonly pins = new Map<Mapping, Float64Array>();

  constructor(options: { premapPages?: number; space?: SimulatedSpaceOptions } = {}) {
    this.mm = new SimulatedSpace(this.memory, options.space);
    this.iopf = new Iopf(this, { premapPages: options.premapPages ?? 1 });
  }

  devices(): readonly IommuDevice[] {
    return this.attached;
  }

  /** Attaches a device with a domain of its own, as a group of one. */
  attach(options: Partial<IommuDeviceOptions & DomainOptions> = {}): IommuDevice {
    const address = options.address ?? `0000:00:0${this.attached.length + 1}.0`;
    const device = new IommuDevice({ ...options, address, counters: this.counters });
    const domain = new Domain(options);
    device.attach(domain);
    this.domains.push(domain);
    try {
      runDirect(this.iopf.devicesAttached([device]));
    } catch (error) {
      device.detach();
      this.domains.pop();
      throw error;
    }
    this.attached.push(device);
    for (const mapping of this.mappings) this.replayPinned(mapping, domain);
    return device;
  }

  detach(device: IommuDevice): void {
    runDirect(this.iopf.devicesDetaching([device]));
    const domain = device.domain!;
    device.detach();
    this.domains.splice(this.domains.indexOf(domain), 1);
    this.attached.splice(this.attached.indexOf(device), 1);
    this.iopf.domainRemoved();
  }

  /** MAP_DMA. */
  map(
    iovaPage: number,
    pages: number,
    vaddrPage: number,
    permission = RW,
    options: { mm?: AddressSpace; pinned?: boolean } = {},
  ): Mapping {
    const mapping = new Mapping(
      iovaPage,
      pages,
      vaddrPage,
      permission,
      options.mm ?? this.mm,
      options.pinned ?? false,
    );
    if (this.iopf.enabled && !mapping.pinnedByFlag) this.iopf.mappingAdded(mapping);
    else this.pinMapping(mapping);
    this.mappings.insert(mapping);
    return mapping;
  }

  /** UNMAP_DMA of one mapping. */
  unmap(mapping: Mapping): void {
    this.mappings.remove(mapping);
    if (mapping.pinned) {
      for (const domain of this.domains) domain.unmap(mapping.iovaPage, mapping.pages);
      this.counters.addResident(-mapping.pages);
      this.unpinMapping(mapping);
    } else this.iopf.mappingRemoved(mapping);
  }

  /** Whether a static mapping of this memory would succeed. */
  canPin(vaddrPage: number, pages: number): boolean {
    if (this.mm.lockedPages + pages > this.lockLimitPages) return false;
    const frames = new Float64Array(pages);
    const got = this.mm.pin(vaddrPage, pages, WRITE, frames);
    if (got > 0) this.mm.unpin(frames, got);
    return got === pages;
  }

  /** Maps a pinned mapping in a domain that has just come. */
  replayPinned(mapping: Mapping, domain: Domain): void {
    const frames = this.pins.get(mapping);
    if (frames) domain.mapFrames(mapping.iovaPage, frames, mapping.pages, mapping.permission);
  }

  release(): void {
    for (const mapping of this.mappings) this.unmap(mapping);
    runDirect(this.iopf.release());
  }

  pinMapping(mapping: Mapping): void {
    const { mm, pages } = mapping;
    if (mm.lockedPages + pages > this.lockLimitPages) throw new VfioError(Errno.ENOMEM);
    const frames = new Float64Array(pages);
    const got = mm.pin(mapping.vaddrPage, pages, mapping.permission, frames);
    if (got < pages) {
      if (got > 0) mm.unpin(frames, got);
      throw new VfioError(got < 0 ? -got : Errno.EFAULT);
    }
    mm.accountLocked(pages);
    for (const domain of this.domains) {
      let start = 0;
      for (let i = 1; i <= pages; i++) {
        if (i < pages && frames[i] === frames[i - 1]! + 1) continue;
        domain.map(mapping.iovaPage + start, frames[start]!, i - start, mapping.permission);
        start = i;
      }
    }
    this.pins.set(mapping, frames);
    this.counters.addPinned(pages);
    this.counters.addResident(pages);
    mapping.pinned = true;
  }

  unpinMapping(mapping: Mapping): void {
    mapping.mm.unpin(this.pins.get(mapping)!, mapping.pages);
    mapping.mm.accountLocked(-mapping.pages);
    this.counters.addPinned(-mapping.pages);
    this.pins.delete(mapping);
    mapping.pinned = false;
  }
}
