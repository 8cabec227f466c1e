/** A PCI function whose device is in another process, behind a vfio-user socket. */
import { Errno, errnoName } from '../../abi/errno.js';
import { PciInterruptIndex, PciRegionIndex } from '../../abi/pci.js';
import { RegionFlag } from '../../abi/vfio.js';
import type { Mapping } from '../../ioas/mapping.js';
import type { IommuDevice } from '../../iommu/device.js';
import { PAGE_SIZE } from '../../mm/address-space.js';
import type { InterruptSink, PciFunction, PciRegion } from '../../vfio/pci-function.js';
import { Command } from '../../vfio-user/protocol.js';
import { DmaPort } from '../dma-port.js';
import type { EndpointContext } from '../pci/endpoint.js';
import { gapsOf } from '../pci/region-gaps.js';
import { sparseRegion } from '../pci/sparse-region.js';
import type { Client } from './client.js';
import { DmaMaps, type DmaWay } from './dma-maps.js';
import type { PeerHost } from './host.js';
import { RemoteInterrupts } from './interrupts.js';
import type { RemoteDevice } from './negotiation.js';
import type { RemoteRegion } from './region.js';
import { RegionPort } from './region-port.js';
import { RemoteConfig } from './remote-config.js';

const { CONFIG, BAR5 } = PciRegionIndex;

export interface RemoteOptions {
  /** As messages name the server. */
  readonly path: string;
  readonly dma: DmaWay;
  /** Only what is a file's memory may be mapped, and programs are told so. */
  readonly isSparse: boolean;
}

export class RemoteFunction implements PciFunction {
  readonly kind = 'vfio-user';
  readonly isQuiet = true;
  readonly address: string;
  readonly iommu: IommuDevice;
  readonly regions: readonly PciRegion[];
  readonly interruptCounts: readonly number[];
  readonly resettable: boolean;
  readonly mappings: DmaMaps;
  private readonly config: RemoteConfig;
  private readonly port: RegionPort;
  private readonly interrupts: RemoteInterrupts;
  private readonly dma: DmaPort;
  private sink: InterruptSink | null = null;
  /** The first access and the first mapping that the server refused have been told of. */
  private readonly told = new Set<string>();

  constructor(
    private readonly client: Client,
    private readonly host: PeerHost,
    device: RemoteDevice,
    context: EndpointContext,
    private readonly options: RemoteOptions,
  ) {
    const { address, iommu } = context;
    this.address = address;
    this.iommu = iommu;
    this.resettable = device.resettable;
    const { faults, frames, note, traps } = context.host;
    this.dma = new DmaPort(faults?.translator ?? iommu, frames, faults?.gate ?? null);
    this.port = new RegionPort(client, (what, index, offset, error) => {
      // A server's config space says which registers can be written.
      if (index === CONFIG && what === 'a write') return;
      const place = `0x${offset.toString(16)} of region ${index}`;
      this.tell(note, what, `refuses ${what} at ${place} (${errnoName(error)})`);
    });
    this.config = new RemoteConfig(
      this.port,
      device.config,
      () => this.configChanged(),
      () => iommu.incidents?.deviceReset(iommu),
    );
    this.interrupts = new RemoteInterrupts(client, host, device.interrupts);
    this.mappings = new DmaMaps(client, host, options.dma, ({ iovaPage }: Mapping, error) => {
      const iova = `0x${(iovaPage * PAGE_SIZE).toString(16)}`;
      this.tell(note, 'a mapping', `refuses the mapping at IOVA ${iova} (${errnoName(error)})`);
    });
    this.regions = device.regions.map((region, index) => this.region(index, region, traps));
    const counts = device.interrupts.map(({ count }) => count);
    if (this.config.isExpress) counts[PciInterruptIndex.ERR] = 1;
    counts[PciInterruptIndex.REQ] = 1;
    this.interruptCounts = counts;
    client.memory = {
      read: (at, length, buffer, offset) =>
        this.errorOf(this.dma.readRange(at, length, buffer, offset)),
      write: (at, length, buffer, offset) =>
        this.errorOf(this.dma.writeRange(at, length, buffer, offset)),
    };
    client.died = () => {
      note?.(
        `${address}: the vfio-user server at ${options.path} ${client.death}; the device is dead: ` +
          'it reads as ones, and takes part in nothing any more',
      );
      this.dma.enabled = false;
      this.sink?.notify?.(PciInterruptIndex.ERR);
    };
    client.watch();
  }

  open(sink: InterruptSink): void {
    this.sink = sink;
    this.interrupts.connect(sink);
    this.askReset();
    this.config.enable();
  }

  release(): void {
    this.sink = null;
    this.config.quiet();
    this.interrupts.disconnect();
    this.askReset();
    this.configChanged();
  }

  reset(): void {
    this.askReset();
    this.config.afterReset();
  }

  readRegion(index: number, offset: number, into: Uint8Array): void {
    this.port.read(index, offset, into);
  }

  writeRegion(index: number, offset: number, from: Uint8Array): void {
    if (index === CONFIG) this.config.write(offset, from);
    else this.port.write(index, offset, from);
  }

  decodes(bar: number): boolean {
    return this.config.isIo(bar) || this.config.decodesMemory;
  }

  interruptsEnabled(index: number, vectors: number): void {
    this.interrupts.arm(index, vectors);
  }

  intxMasked(masked: boolean): void {
    this.interrupts.masked(masked);
  }

  /** What the server asks comes by itself; its copy of the mappings is looked after here. */
  poll(): boolean {
    this.mappings.check();
    return false;
  }

  private askReset(): void {
    if (this.resettable) this.client.request(Command.DEVICE_RESET, new Uint8Array(0));
    this.dma.forgetStall();
  }

  private configChanged(): void {
    this.dma.enabled = this.sink !== null && this.config.isMaster;
  }

  private errorOf(whole: boolean): number {
    if (whole) return 0;
    return this.dma.enabled ? Errno.EFAULT : Errno.ENODEV;
  }

  private region(index: number, remote: RemoteRegion, traps: boolean | undefined): PciRegion {
    const { size, flags, areas, fd, offset } = remote;
    const readable = (flags & RegionFlag.VFIO_REGION_INFO_FLAG_READ) !== 0;
    const writable = (flags & RegionFlag.VFIO_REGION_INFO_FLAG_WRITE) !== 0;
    const mappable =
      index <= BAR5 && size >= PAGE_SIZE && !this.config.isIo(index) && traps !== false;
    if (!mappable && fd >= 0) this.host.closeFile(fd);
    if (!mappable) return { size, readable, writable, mappable };
    const files = areas.map((area) => ({ ...area, fd, fileOffset: offset + area.offset }));
    const region: PciRegion = {
      ...{ size, readable, writable, mappable },
      trapped: gapsOf(areas, Math.ceil(size / PAGE_SIZE) * PAGE_SIZE),
      ...(files.length > 0 ? { files } : {}),
      ...(this.config.msixBar === index ? { msixMappable: true } : {}),
    };
    return this.options.isSparse ? sparseRegion(region) : region;
  }

  private tell(note: ((line: string) => void) | undefined, about: string, what: string): void {
    if (this.told.has(about)) return;
    this.told.add(about);
    note?.(`${this.address}: the vfio-user server at ${this.options.path} ${what}; told of once`);
  }
}
