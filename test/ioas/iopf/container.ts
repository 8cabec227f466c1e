import { Errno } from '../../../src/abi/errno.js';
import { runDirect } from '../../../src/flow/direct.js';
import { DirtyLog } from '../../../src/ioas/dirty-log.js';
import { IoSpace } from '../../../src/ioas/io-space.js';
import type { Iopf } from '../../../src/ioas/iopf/iopf.js';
import { Mapping } from '../../../src/ioas/mapping.js';
import type { MappingIndex } from '../../../src/ioas/mapping-index.js';
import { UserPages } from '../../../src/ioas/user-pages.js';
import { IommuDevice, type IommuDeviceOptions } from '../../../src/iommu/device.js';
import { Domain, type DomainOptions } from '../../../src/iommu/domain.js';
import { Counters, type Observer } from '../../../src/iommu/observer.js';
import { type AddressSpace, READ, WRITE } from '../../../src/mm/address-space.js';
import type { LockAccount } from '../../../src/mm/lock-account.js';
import { SimulatedSpace, type SimulatedSpaceOptions } from '../../../src/mm/simulated.js';
import { SimulatedMemory } from '../../../src/mm/simulated-memory.js';

export const RW = READ | WRITE;

/** An I/O address space over simulated memory, in which each device has a domain of its own. */
export class TestContainer {
  readonly counters = new Counters();
  readonly memory = new SimulatedMemory();
  readonly mm: SimulatedSpace;
  readonly space: IoSpace;
  readonly attached: IommuDevice[] = [];
  /** Pins of pages above this fail with ENOMEM. */
  lockLimitPages = Number.POSITIVE_INFINITY;

  constructor(
    options: { premapPages?: number; space?: SimulatedSpaceOptions; observer?: Observer } = {},
  ) {
    this.mm = new SimulatedSpace(this.memory, options.space);
    this.space = new IoSpace({
      counters: this.counters,
      observer: options.observer ?? null,
      premapPages: options.premapPages ?? 1,
      premap: null,
      driversMayPin: true,
    });
  }

  get iopf(): Iopf {
    return this.space.iopf;
  }

  get domains(): readonly Domain[] {
    return this.space.domains;
  }

  get mappings(): MappingIndex {
    return this.space.mappings;
  }

  /** Attaches a device with a domain of its own, as a group of one. */
  attach(options: Partial<IommuDeviceOptions & DomainOptions> = {}): IommuDevice {
    const address = options.address ?? `0000:00:0${this.attached.length + 1}.0`;
    const device = new IommuDevice({ ...options, address, counters: this.counters });
    const domain = new Domain(options);
    this.space.addDomain(domain);
    try {
      runDirect(this.space.attachDevices([device], { domain, handler: null, stage1: null }));
    } catch (error) {
      device.detach();
      this.space.removeDomain(domain);
      throw error;
    }
    this.attached.push(device);
    return device;
  }

  detach(device: IommuDevice): void {
    const domain = device.domain!;
    runDirect(this.space.detachDevices([device]));
    this.space.removeDomain(domain);
    this.attached.splice(this.attached.indexOf(device), 1);
  }

  /** MAP_DMA. */
  map(
    iovaPage: number,
    pages: number,
    vaddrPage: number,
    permission = RW,
    options: { mm?: AddressSpace; pinned?: boolean } = {},
  ): Mapping {
    const mm = options.mm ?? this.mm;
    const source = new UserPages(mm, vaddrPage, pages, permission, this.accountOf(mm));
    const mapping = new Mapping(iovaPage, pages, permission, source, 0, options.pinned);
    this.space.map(mapping);
    return mapping;
  }

  /** UNMAP_DMA of one mapping. */
  unmap(mapping: Mapping): void {
    this.space.unmap(mapping);
  }

  /** Starts a log of all writes, or of those through one domain. */
  log(domain: Domain | null = null): DirtyLog {
    const log = new DirtyLog(domain);
    this.space.startLog(log);
    return log;
  }

  /** Whether a static mapping of this memory would succeed. */
  canPin(vaddrPage: number, pages: number): boolean {
    if (this.mm.lockedPages + pages > this.lockLimitPages) return false;
    const frames = new Float64Array(pages);
    const got = this.mm.pin(vaddrPage, pages, WRITE, frames);
    if (got > 0) this.mm.unpin(frames, got);
    return got === pages;
  }

  release(): void {
    for (const mapping of this.mappings) this.unmap(mapping);
    runDirect(this.iopf.release());
  }

  private accountOf(mm: AddressSpace): LockAccount {
    return {
      charge: (pages, anyway) => {
        if (!anyway && mm.lockedPages + pages > this.lockLimitPages) return Errno.ENOMEM;
        mm.accountLocked(pages);
        return 0;
      },
      release: (pages) => mm.accountLocked(-pages),
    };
  }
}
