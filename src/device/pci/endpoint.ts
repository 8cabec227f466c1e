import { Bug } from '../../abi/bug.js';
import {
  PciCommand,
  PciConfig,
  PciExpress,
  PciInterruptIndex,
  PciMsi,
  PciMsix,
  PciPm,
  PciRegionIndex,
  PciStatus,
} from '../../abi/pci.js';
import type { IommuDevice } from '../../iommu/device.js';
import { allocatePlain, type DmaBuffer } from '../../mm/frame-memory.js';
import type {
  DriverMemory,
  InterruptSink,
  PciFunction,
  PciRegion,
} from '../../vfio/pci-function.js';
import type { DeviceHost } from '../device-host.js';
import { DmaPort } from '../dma-port.js';
import { ConfigSpace } from './config-space.js';
import type { CapabilityDescription, PciDescription } from './description.js';
import { Interrupts } from './interrupts.js';
import type { PciDevice } from './pci-device.js';
import { sparseRegion } from './sparse-region.js';

/** Where a function lives. */
export interface EndpointContext {
  /** `0000:02:00.0` */
  readonly address: string;
  readonly iommu: IommuDevice;
  readonly host: DeviceHost;
}

/**
 * What vfio-pci leaves in the command register of a device that it opens: decoding on, bus
 * mastering off.
 */
const COMMAND_AT_OPEN = PciCommand.IO | PciCommand.MEMORY | PciCommand.SERR;
const NO_REGION: PciRegion = { size: 0, readable: false, writable: false, mappable: false };
/** Bytes of a BAR's memory from which on it is not zeroed byte by byte. */
const LARGE = 2 ** 18;
/** Bytes of the widest access. */
const WIDE = 8;
type Capability<Kind extends string> = CapabilityDescription & { readonly kind: Kind };

/** A PCI function with one device behind it. */
export class PciEndpoint implements PciFunction {
  readonly address: string;
  readonly iommu: IommuDevice;
  readonly regions: readonly PciRegion[];
  readonly interruptCounts: readonly number[];
  readonly resettable: boolean;
  readonly busReset = true;
  readonly dmaUnmap: ((iovaPage: number, pages: number) => void) | undefined;
  readonly config: ConfigSpace;
  readonly interrupts = new Interrupts();
  readonly dma: DmaPort;
  private readonly device: PciDevice;
  private readonly barMemories: (DmaBuffer | null)[] = new Array(PciRegionIndex.COUNT).fill(null);
  private readonly msi: Capability<'msi'> | undefined;
  private readonly msix: Capability<'msix'> | undefined;
  private readonly express: Capability<'express'> | undefined;
  private readonly power: Capability<'power'> | undefined;
  private readonly holdsBack: (() => boolean) | undefined;
  private isOpen = false;
  private driverMemory: DriverMemory | null = null;

  /** `createDevice` gets the finished endpoint. */
  constructor(
    readonly kind: string,
    description: PciDescription,
    context: EndpointContext,
    createDevice: (endpoint: PciEndpoint) => PciDevice,
  ) {
    this.address = context.address;
    this.iommu = context.iommu;
    const { faults, frames, holdsBack } = context.host;
    this.holdsBack = holdsBack;
    this.dma = new DmaPort(faults?.translator ?? context.iommu, frames, faults?.gate ?? null);
    this.config = new ConfigSpace(description);
    const { capabilities } = description;
    this.msi = capabilities.find((capability) => capability.kind === 'msi');
    this.msix = capabilities.find((capability) => capability.kind === 'msix');
    this.express = capabilities.find((capability) => capability.kind === 'express');
    this.power = capabilities.find((capability) => capability.kind === 'power');
    this.resettable = this.express !== undefined;
    const counts = new Array(PciInterruptIndex.COUNT).fill(0);
    counts[PciInterruptIndex.INTX] = description.pin ? 1 : 0;
    counts[PciInterruptIndex.MSI] = this.msi?.vectors ?? 0;
    counts[PciInterruptIndex.MSIX] = this.msix?.vectors ?? 0;
    counts[PciInterruptIndex.ERR] = this.express ? 1 : 0;
    counts[PciInterruptIndex.REQ] = 1;
    this.interruptCounts = counts;
    const regions = new Array<PciRegion>(PciRegionIndex.COUNT).fill(NO_REGION);
    const isSparse = description.sparse === true;
    const nothingTraps = context.host.traps === false;
    const isPolled = nothingTraps && !isSparse;
    for (const bar of description.bars) {
      const { index, size, mappable, polled, trapped } = bar;
      const region: PciRegion = {
        size,
        readable: true,
        writable: true,
        mappable,
        ...(trapped && !(isPolled && polled) ? { trapped } : {}),
        ...(mappable && this.msix?.bar === index ? { msixMappable: true } : {}),
      };
      regions[index] = isSparse || nothingTraps ? sparseRegion(region) : region;
      this.barMemories[index] = mappable
        ? context.host.regionMemory(index, size)
        : allocatePlain(size);
    }
    regions[PciRegionIndex.CONFIG] = {
      size: this.config.size,
      readable: true,
      writable: true,
      mappable: false,
    };
    this.regions = regions;
    this.config.setWord(PciConfig.COMMAND, COMMAND_AT_OPEN);
    this.device = createDevice(this);
    this.iommu.stalls = this.device.stalls ?? false;
    this.iommu.hasPri = capabilities.some((capability) => capability.kind === 'pri');
    this.dmaUnmap = this.device.dmaUnmap?.bind(this.device);
    this.showTable(0);
    this.device.reset();
  }

  /**
   * Memory of a BAR: what the program sees where it maps it. A BAR that cannot be mapped has its
   * own.
   */
  barMemory(index: number): DmaBuffer {
    const memory = this.barMemories[index];
    if (!memory) throw new Bug('no such BAR', { kind: this.kind, index });
    return memory;
  }

  /** What lies in a BAR's memory: `size` of 1, 2 or 4 bytes, unsigned. */
  loadBar(index: number, offset: number, size: number): number {
    const { bytes } = this.barMemory(index);
    let value = 0;
    for (let byte = size - 1; byte >= 0; byte--) value = value * 256 + bytes[offset + byte]!;
    return value;
  }

  storeBar(index: number, offset: number, size: number, value: number): void {
    const { bytes } = this.barMemory(index);
    for (let byte = 0; byte < size; byte++) bytes[offset + byte] = value >>> (8 * byte);
  }

  /** The container's memory while the device is open: what cannot fault is pinned (R7.1). */
  get memory(): DriverMemory | null {
    return this.driverMemory;
  }

  open(sink: InterruptSink, memory?: DriverMemory): void {
    this.driverMemory = memory ?? null;
    this.interrupts.connect(sink);
    this.config.setWord(PciConfig.COMMAND, COMMAND_AT_OPEN);
    this.isOpen = true;
    this.reset();
  }

  release(): void {
    this.isOpen = false;
    this.interrupts.connect(null);
    this.config.setWord(PciConfig.COMMAND, COMMAND_AT_OPEN);
    for (const index of [PciInterruptIndex.MSI, PciInterruptIndex.MSIX]) this.showArmed(index, 0);
    this.reset();
    this.driverMemory = null;
  }

  /**
   * Config space stays as it is, as vfio-pci saves and restores it around a reset; but the function
   * is awake again.
   */
  reset(): void {
    if (this.power) this.setPowerState(this.power, 0);
    for (const memory of this.barMemories) if (memory) clear(memory);
    this.dma.forgetStall();
    this.interrupts.pin(false);
    this.unmaskMsi();
    this.showTable(this.interrupts.armed(PciInterruptIndex.MSIX));
    this.device.reset();
    this.commandChanged();
  }

  readRegion(index: number, offset: number, into: Uint8Array): void {
    this.poll();
    if (index === PciRegionIndex.CONFIG) {
      this.showPin();
      this.showPending();
      this.device.configRead?.(offset, into.length);
      this.config.read(offset, into);
      return;
    }
    if (this.tooWide(index, offset, into.length)) {
      into.fill(0xff);
      return;
    }
    for (let done = 0; done < into.length; ) {
      const at = offset + done;
      const size = accessSize(at, into.length - done);
      let value = this.device.read(index, at, size);
      for (let byte = 0; byte < size; byte++, value >>>= 8) into[done + byte] = value & 0xff;
      done += size;
    }
  }

  writeRegion(index: number, offset: number, from: Uint8Array): void {
    this.poll();
    if (index === PciRegionIndex.CONFIG) {
      this.writeConfig(offset, from);
      return;
    }
    if (this.tooWide(index, offset, from.length)) return;
    for (let done = 0; done < from.length; ) {
      const at = offset + done;
      const size = accessSize(at, from.length - done);
      let value = 0;
      for (let byte = size - 1; byte >= 0; byte--) value = (value << 8) | from[done + byte]!;
      this.device.write(index, at, size, value >>> 0);
      done += size;
    }
  }

  private tooWide(bar: number, offset: number, length: number): boolean {
    const device = this.device;
    return (
      length === WIDE &&
      offset % WIDE === 0 &&
      device.takesWide !== undefined &&
      !device.takesWide(bar, offset)
    );
  }

  interruptsEnabled(index: number, vectors: number): void {
    this.interrupts.arm(index, vectors);
    this.showArmed(index, vectors);
  }

  poll(): boolean {
    return this.isOpen && this.holdsBack?.() !== true && this.device.poll();
  }

  private writeConfig(offset: number, from: Uint8Array): void {
    const power = this.power;
    const state = power ? this.config.word(power.offset + PciPm.CTRL) & PciPm.STATE_MASK : 0;
    this.config.write(offset, from);
    if (power) this.powerWritten(power, state);
    if (this.msi?.maskable)
      this.interrupts.maskMsi(this.config.long(this.msi.offset + PciMsi.MASK_64));
    this.commandChanged();
    this.device.configWritten?.(offset, from.length);
    if (!this.express) return;
    const control = this.express.offset + PciExpress.DEVICE_CONTROL;
    const value = this.config.word(control);
    if ((value & PciExpress.INITIATE_FUNCTION_LEVEL_RESET) === 0) return;
    this.config.setWord(control, value & ~PciExpress.INITIATE_FUNCTION_LEVEL_RESET);
    this.reset();
    this.iommu.incidents?.deviceReset(this.iommu);
  }

  /** Only D0 and D3hot exist; a write of another state is ignored. */
  private powerWritten(power: Capability<'power'>, before: number): void {
    const state = this.config.word(power.offset + PciPm.CTRL) & PciPm.STATE_MASK;
    if (state !== 0 && state !== PciPm.D3_HOT) this.setPowerState(power, before);
  }

  private setPowerState(power: Capability<'power'>, state: number): void {
    const at = power.offset + PciPm.CTRL;
    this.config.setWord(at, (this.config.word(at) & ~PciPm.STATE_MASK) | state);
  }

  /**
   * Bus mastering and the pin follow the command register; a function in D3hot does no DMA (PCI PM
   * 1.2, 5.4.1).
   */
  private commandChanged(): void {
    const command = this.config.word(PciConfig.COMMAND);
    const asleep =
      this.power && (this.config.word(this.power.offset + PciPm.CTRL) & PciPm.STATE_MASK) !== 0;
    this.dma.enabled = this.isOpen && (command & PciCommand.MASTER) !== 0 && !asleep;
    this.interrupts.disablePin((command & PciCommand.INTX_DISABLE) !== 0);
  }

  private showPin(): void {
    const status = this.config.word(PciConfig.STATUS) & ~PciStatus.INTERRUPT;
    this.config.setWord(
      PciConfig.STATUS,
      status | (this.interrupts.pinAsserted ? PciStatus.INTERRUPT : 0),
    );
  }

  /** As the host's kernel does when it switches MSI on or off, and after a reset. */
  private unmaskMsi(): void {
    if (!this.msi?.maskable) return;
    this.config.setLong(this.msi.offset + PciMsi.MASK_64, 0);
    this.interrupts.forgetMasked();
  }

  private showPending(): void {
    if (this.msi?.maskable)
      this.config.setLong(this.msi.offset + PciMsi.PENDING_64, this.interrupts.pendingMsi >>> 0);
  }

  private showArmed(index: number, vectors: number): void {
    if (index === PciInterruptIndex.MSI && this.msi) {
      const flags = this.msi.offset + PciMsi.FLAGS;
      const off = this.config.word(flags) & ~(PciMsi.ENABLE | PciMsi.QUEUE_SIZE);
      const size = vectors > 0 ? Math.ceil(Math.log2(vectors)) << 4 : 0;
      this.config.setWord(flags, vectors > 0 ? off | size | PciMsi.ENABLE : off);
      this.unmaskMsi();
    }
    if (index === PciInterruptIndex.MSIX && this.msix) {
      const flags = this.msix.offset + PciMsix.FLAGS;
      const off = this.config.word(flags) & ~PciMsix.ENABLE;
      this.config.setWord(flags, vectors > 0 ? off | PciMsix.ENABLE : off);
      this.showTable(vectors);
    }
  }

  /**
   * The MSI-X table as the host's kernel would have it: entries in use unmasked, the others masked.
   * It is there to be looked at: SET_IRQS alone decides what is signalled, so nothing is ever
   * pending.
   */
  private showTable(vectors: number): void {
    const msix = this.msix;
    if (!msix) return;
    const { bytes } = this.barMemory(msix.bar);
    for (let vector = 0; vector < msix.vectors; vector++) {
      bytes[msix.table + vector * PciMsix.ENTRY_SIZE + PciMsix.ENTRY_CONTROL] =
        vector < vectors ? 0 : PciMsix.ENTRY_MASKED;
    }
  }
}
/** Zeroes all of a BAR's memory; what is large goes back to the host. */
function clear(memory: DmaBuffer): void {
  const { length } = memory.bytes;
  if (memory.discard && length > LARGE) memory.discard(0, length);
  else memory.bytes.fill(0);
}

/** How vfio-pci cuts an access to a BAR: naturally aligned, at most 4 bytes (vfio_pci_rdwr.c). */
function accessSize(offset: number, left: number): number {
  if (left >= 4 && offset % 4 === 0) return 4;
  if (left >= 2 && offset % 2 === 0) return 2;
  return 1;
}
