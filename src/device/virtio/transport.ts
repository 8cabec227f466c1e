import { PciInterruptIndex } from '../../abi/pci.js';
import { READ } from '../../mm/address-space.js';
import type { AllocateDma } from '../../mm/frame-memory.js';
import type { PciEndpoint } from '../pci/endpoint.js';
import type { PciDevice } from '../pci/pci-device.js';
import { CommonConfiguration } from './common-configuration.js';
import { PciWindow } from './description.js';
import { Features } from './features.js';
import { LegacyRegisters } from './legacy-registers.js';
import { VirtQueue } from './queue.js';
import {
  DeviceStatus,
  Feature,
  IsrStatus,
  LEGACY_BAR,
  type LegacyMode,
  NO_VECTOR,
  VIRTIO_BAR,
  VirtioBar,
} from './registers.js';

/** What a kind of virtio device is, above its transport. */
export interface VirtioDevice {
  /** Device reset: as after power-on. The queues have been reset already. */
  reset(): void;
  /** DRIVER_OK was set: features and queues are as the driver wants them. */
  start(): void;
  /**
   * Works on its queues; true: it did something. Called while the driver is ready, bus mastering on
   * and nothing broken.
   */
  poll(): boolean;
}

export interface VirtioParts {
  /** Feature numbers that this kind offers, besides the transport's. */
  readonly features: readonly number[];
  /** Device configuration (5): what the driver reads. */
  readonly config: Uint8Array;
  readonly queues: number;
  /** Whether it has the legacy interface: not, beside the modern one, or alone. */
  readonly legacy: LegacyMode;
  createDevice(transport: VirtioTransport): VirtioDevice;
}

/** Features of the transport and of queues. */
const transportFeatures = [
  Feature.INDIRECT_DESC,
  Feature.EVENT_IDX,
  Feature.VERSION_1,
  Feature.ACCESS_PLATFORM,
  Feature.RING_RESET,
];
/** What a notification register holds until it is written. */
const NOT_NOTIFIED = -1;

/**
 * Virtio over PCI, modern (4.1): the registers, the device status and the interrupts around a kind
 * of device.
 *
 * The page of notifications may be mapped. A driver writes the same number every time, so a
 * register is set back to all ones when it is found written, before the available ring is looked
 * at: a write that comes later is found by the next poll, and what came before it is in the ring
 * already. It is exchanged atomically: no write is lost between load and store, and the ring is
 * read after the last one. The other structures answer at once and cannot be mapped.
 */
export class VirtioTransport implements PciDevice {
  readonly endpoint: PciEndpoint;
  readonly features: Features;
  readonly queues: readonly VirtQueue[];
  /** Kinds of devices ask for their pages ahead (QueuePages). */
  readonly stalls = true;
  status = 0;
  configVector = NO_VECTOR;
  configGeneration = 0;
  private readonly device: VirtioDevice;
  private readonly config: Uint8Array;
  private readonly common: CommonConfiguration;
  /** Null: there is no legacy interface. */
  private readonly legacy: LegacyRegisters | null;
  /** One word for each queue, in the page that may be mapped. */
  private readonly notifications: Int32Array;
  /** The device may work on its queues. */
  private isRunning = false;
  private isr = 0;

  constructor(endpoint: PciEndpoint, allocate: AllocateDma, parts: VirtioParts) {
    this.endpoint = endpoint;
    this.features = new Features([
      ...transportFeatures,
      ...(parts.legacy === 'off' ? [] : [Feature.ANY_LAYOUT]),
      ...parts.features,
    ]);
    this.queues = Array.from(
      { length: parts.queues },
      (_, index) => new VirtQueue(index, allocate),
    );
    this.config = parts.config;
    this.common = new CommonConfiguration(this);
    this.legacy = parts.legacy === 'off' ? null : new LegacyRegisters(this);
    this.notifications =
      parts.legacy === 'only'
        ? new Int32Array(parts.queues)
        : mappedNotifications(endpoint, parts.queues);
    this.device = parts.createDevice(this);
  }

  reset(): void {
    this.status = 0;
    this.configVector = NO_VECTOR;
    this.isRunning = false;
    this.isr = 0;
    this.features.reset();
    this.common.reset();
    this.legacy?.reset();
    for (const queue of this.queues) queue.reset();
    this.notifications.fill(NOT_NOTIFIED);
    this.endpoint.interrupts.pin(false);
    this.device.reset();
  }

  /** The driver is ready and nothing is broken. */
  get running(): boolean {
    return this.isRunning;
  }

  /**
   * Whether there may be work in a queue: the driver has notified it, or the last poll found
   * some. Hot.
   */
  awake(queue: VirtQueue): boolean {
    if (this.notifications[queue.index] !== NOT_NOTIFIED) {
      Atomics.exchange(this.notifications, queue.index, NOT_NOTIFIED);
      queue.active = true;
    }
    return queue.active && queue.enabled && this.isRunning;
  }

  /**
   * The driver broke a rule, or memory of its queues was refused: nothing goes on until it resets
   * the device (2.1.2).
   */
  breakDown(): void {
    this.isRunning = false;
    if ((this.status & DeviceStatus.NEEDS_RESET) !== 0) return;
    this.status |= DeviceStatus.NEEDS_RESET;
    if ((this.status & DeviceStatus.DRIVER_OK) !== 0)
      this.signal(this.configVector, IsrStatus.CONFIG);
  }

  /** Whether an interrupt for a queue can reach the driver at all. */
  canInterrupt(queue: VirtQueue): boolean {
    return queue.vector !== NO_VECTOR || !this.usesMessages;
  }

  /** Tells the driver of used buffers. */
  interrupt(queue: VirtQueue): void {
    this.signal(queue.vector, IsrStatus.QUEUE);
  }

  read(bar: number, offset: number, size: number): number {
    this.poll();
    if (bar === LEGACY_BAR && this.legacy !== null) return this.legacy.read(offset, size);
    if (bar !== VIRTIO_BAR) return 0;
    if (offset < VirtioBar.ISR) return this.common.read(offset, size);
    if (offset === VirtioBar.ISR) return this.takeIsr();
    if (offset >= VirtioBar.DEVICE && offset < VirtioBar.NOTIFY)
      return this.readConfig(offset - VirtioBar.DEVICE, size);
    return 0;
  }

  write(bar: number, offset: number, size: number, value: number): void {
    if (bar === LEGACY_BAR) this.legacy?.write(offset, size, value);
    else if (bar !== VIRTIO_BAR) return;
    else if (offset < VirtioBar.ISR) this.common.write(offset, size, value);
    else if (offset >= VirtioBar.NOTIFY)
      this.notify(Math.floor((offset - VirtioBar.NOTIFY) / VirtioBar.NOTIFY_MULTIPLIER));
    this.poll();
  }

  /** Reads the device's configuration; it is 0 behind its end. */
  readConfig(offset: number, size: number): number {
    let value = 0;
    for (let byte = size - 1; byte >= 0; byte--)
      value = value * 256 + (this.config[offset + byte] ?? 0);
    return value;
  }

  /** Changes a byte of the device's configuration, and tells the driver (2.5.1). */
  setConfig(offset: number, value: number): void {
    this.config[offset] = value;
    this.configGeneration = (this.configGeneration + 1) & 0xff;
    if ((this.status & DeviceStatus.DRIVER_OK) !== 0)
      this.signal(this.configVector, IsrStatus.CONFIG);
  }

  /** A driver writes a vector, and learns by reading back that there is no such. */
  vector(value: number): number {
    return value <= this.queues.length ? value : NO_VECTOR;
  }

  poll(): boolean {
    if (!this.isRunning) return false;
    if (this.endpoint.dma.enabled) return this.device.poll();
    this.holdBack();
    return false;
  }

  /** Bus mastering is off: what the driver notifies of waits in its memory. */
  private holdBack(): void {
    for (const queue of this.queues) {
      if (!this.awake(queue)) continue;
      this.endpoint.dma.holdBack(queue.driverArea, READ);
      return;
    }
  }

  configRead(offset: number, length: number): void {
    if (offset >= PciWindow.DATA + 4 || offset + length <= PciWindow.DATA) return;
    const { config } = this.endpoint;
    const size = this.windowSize();
    if (size === 0) return;
    const value = this.read(VIRTIO_BAR, config.long(PciWindow.OFFSET), size);
    config.setLong(PciWindow.DATA, value);
  }

  configWritten(offset: number, length: number): void {
    if (offset >= PciWindow.DATA + 4 || offset + length <= PciWindow.DATA) return;
    const { config } = this.endpoint;
    const size = this.windowSize();
    if (size === 0) return;
    const value = config.long(PciWindow.DATA) % 256 ** size;
    this.write(VIRTIO_BAR, config.long(PciWindow.OFFSET), size, value);
  }

  /**
   * The driver has written a device status that is not 0. Bits are only ever added; FEATURES_OK
   * only where it may be (3.1.1).
   */
  addStatus(value: number): void {
    const { FEATURES_OK, DRIVER_OK, NEEDS_RESET } = DeviceStatus;
    let added = value & ~this.status & ~NEEDS_RESET;
    if ((added & FEATURES_OK) !== 0 && !this.featuresAcceptable()) added &= ~FEATURES_OK;
    this.status |= added;
    if ((added & DRIVER_OK) !== 0 && (this.status & NEEDS_RESET) === 0) {
      if ((this.status & FEATURES_OK) === 0) this.breakDown();
      else this.start();
    }
  }

  /**
   * The same through the legacy interface, which does not know FEATURES_OK, nor features from 32 on
   * (3.1.2): its driver says DRIVER_OK at once. Its DMA goes through the IOMMU too.
   */
  setLegacyStatus(value: number): void {
    const { DRIVER_OK, NEEDS_RESET } = DeviceStatus;
    const added = value & ~this.status;
    this.status = value | (this.status & NEEDS_RESET);
    if ((added & DRIVER_OK) === 0 || (this.status & NEEDS_RESET) !== 0) return;
    if (this.features.acceptable) this.start();
    else this.breakDown();
  }

  /** A queue was enabled: before DRIVER_OK, or after it was reset alone. */
  enabled(queue: VirtQueue): void {
    queue.enabled = true;
    queue.active = true;
    if (!queue.aligned) this.breakDown();
  }

  private start(): void {
    this.isRunning = true;
    for (const queue of this.queues) {
      queue.eventIndex = this.features.has(Feature.EVENT_IDX);
      queue.indirect = this.features.has(Feature.INDIRECT_DESC);
      // Buffers that were made available before are found without a notification.
      queue.active = queue.enabled;
    }
    this.device.start();
  }

  /** A device behind an IOMMU takes no driver that does not use it (6.1). */
  private featuresAcceptable(): boolean {
    const { features } = this;
    return (
      features.acceptable &&
      features.has(Feature.VERSION_1) &&
      features.has(Feature.ACCESS_PLATFORM)
    );
  }

  /** The driver tells of buffers in a queue. */
  notify(index: number): void {
    if (index < this.queues.length) this.notifications[index] = index;
  }

  /** Bytes of the access that the window in config space stands for; 0 where it is not valid. */
  private windowSize(): number {
    const { config } = this.endpoint;
    const size = config.long(PciWindow.LENGTH);
    const offset = config.long(PciWindow.OFFSET);
    const bar = config.word(PciWindow.BAR) & 0xff;
    const possible = (size === 1 || size === 2 || size === 4) && offset % size === 0;
    return possible && bar === VIRTIO_BAR && offset + size <= VirtioBar.SIZE ? size : 0;
  }

  /** Reads the ISR status, which clears it and lets the pin go. */
  takeIsr(): number {
    const isr = this.isr;
    this.isr = 0;
    this.endpoint.interrupts.pin(false);
    return isr;
  }

  get usesMessages(): boolean {
    return this.endpoint.interrupts.armed(PciInterruptIndex.MSIX) > 0;
  }

  private signal(vector: number, cause: number): void {
    const { interrupts } = this.endpoint;
    if (this.usesMessages) {
      if (vector !== NO_VECTOR) interrupts.message(vector);
      return;
    }
    this.isr |= cause;
    interrupts.pin(true);
  }
}

function mappedNotifications(endpoint: PciEndpoint, queues: number): Int32Array {
  const { bytes } = endpoint.barMemory(VIRTIO_BAR);
  return new Int32Array(bytes.buffer, bytes.byteOffset + VirtioBar.NOTIFY, queues);
}
