/**
 * A small virtio driver, for tests and benches: finds the structures by the capabilities and drives
 * queues, as a program would.
 */
import { PciCommand, PciConfig, PciRegionIndex } from '../../src/abi/pci.js';
import type { DeviceHost } from '../../src/device/device-host.js';
import {
  CapabilityType,
  CommonRegister,
  DeviceStatus,
  Feature,
  VirtioBar,
} from '../../src/device/virtio/registers.js';
import { virtioNet } from '../../src/device/virtio-net/kind.js';
import { HEADER_BYTES } from '../../src/device/virtio-net/limits.js';
import { PAGE_SIZE } from '../../src/mm/address-space.js';
import type { PciFunction } from '../../src/vfio/pci-function.js';
import { command, hex, Program, type ProgramOptions, read } from './program.js';

export const NEXT = 1;
export const WRITE = 2;
export const INDIRECT = 4;
const { CONFIG } = PciRegionIndex;

/** A part of a buffer: an offset in the program's memory, or any I/O virtual address. */
export interface Part {
  readonly offset?: number;
  readonly iova?: bigint;
  readonly length: number;
  /** The device writes it. */
  readonly write?: boolean;
}

export interface Structure {
  readonly bar: number;
  readonly offset: number;
  readonly length: number;
  /** Offset of the capability in config space. */
  readonly at: number;
}

/** One end of a split virtqueue, in the program's memory. */
export class DriverQueue {
  available = 0;
  used = 0;
  #nextDescriptor = 0;

  constructor(
    readonly driver: VirtioDriver,
    readonly index: number,
    readonly size: number,
    /** Offsets in the program's memory. */
    readonly table: number,
    readonly driverArea: number,
    readonly deviceArea: number,
  ) {}

  /** Writes a descriptor. */
  describe(index: number, part: Part, flags: number, next = 0, table = this.table): void {
    const { view } = this.driver;
    const at = table + index * 16;
    view.setBigUint64(at, part.iova ?? BigInt(this.driver.program.iova(part.offset!)), true);
    view.setUint32(at + 8, part.length, true);
    view.setUint16(at + 12, flags | (part.write ? WRITE : 0), true);
    view.setUint16(at + 14, next, true);
  }

  /**
   * Makes a chain of the parts available without telling; returns its head. `indirect`: in a table
   * at this offset.
   */
  add(parts: readonly Part[], indirect?: number): number {
    const head = this.#nextDescriptor;
    const link = (index: number) => (index < parts.length - 1 ? NEXT : 0);
    if (indirect === undefined) {
      parts.forEach((part, index) => {
        this.describe(
          (head + index) % this.size,
          part,
          link(index),
          (head + index + 1) % this.size,
        );
      });
      this.#nextDescriptor = (head + parts.length) % this.size;
    } else {
      parts.forEach((part, index) => {
        this.describe(index, part, link(index), index + 1, indirect);
      });
      this.describe(head, { offset: indirect, length: 16 * parts.length }, INDIRECT);
      this.#nextDescriptor = (head + 1) % this.size;
    }
    this.offer(head);
    return head;
  }

  /** Puts any number as a head into the available ring. */
  offer(head: number): void {
    const { view } = this.driver;
    view.setUint16(this.driverArea + 4 + (this.available % this.size) * 2, head, true);
    this.available = (this.available + 1) & 0xffff;
    view.setUint16(this.driverArea + 2, this.available, true);
  }

  /**
   * Writes to the notification register as a program that has mapped it, and lets the device look.
   */
  notify(): void {
    this.driver.notifications.setUint16(this.index * VirtioBar.NOTIFY_MULTIPLIER, this.index, true);
    this.driver.device.poll();
  }

  /** avail.flags: the driver wants no interrupt. */
  set noInterrupt(value: boolean) {
    this.driver.view.setUint16(this.driverArea, value ? 1 : 0, true);
  }

  set usedEvent(value: number) {
    this.driver.view.setUint16(this.driverArea + 4 + 2 * this.size, value, true);
  }

  get availableEvent(): number {
    return this.driver.view.getUint16(this.deviceArea + 4 + 8 * this.size, true);
  }

  get usedFlags(): number {
    return this.driver.view.getUint16(this.deviceArea, true);
  }

  get usedIndex(): number {
    return this.driver.view.getUint16(this.deviceArea + 2, true);
  }

  /** The next used buffer, if the device has given one back. */
  take(): { head: number; length: number } | null {
    if (this.usedIndex === this.used) return null;
    const at = this.deviceArea + 4 + (this.used % this.size) * 8;
    this.used = (this.used + 1) & 0xffff;
    const { view } = this.driver;
    return { head: view.getUint32(at, true), length: view.getUint32(at + 4, true) };
  }

  takeAll(): { head: number; length: number }[] {
    const all = [];
    for (let one = this.take(); one; one = this.take()) all.push(one);
    return all;
  }
}

export interface DriverOptions {
  readonly device?: Record<string, string>;
  readonly program?: ProgramOptions;
  readonly openTap?: DeviceHost['openTap'];
}

export class VirtioDriver {
  readonly program: Program;
  readonly device: PciFunction;
  readonly view: DataView;
  readonly structures = new Map<number, Structure>();
  /** The page of notifications, mapped. */
  readonly notifications: DataView;
  #nextPage = 0;

  constructor(options: DriverOptions = {}) {
    this.program = new Program(options.program);
    const { surroundings } = this.program;
    const host = options.openTap
      ? { ...surroundings.host, openTap: options.openTap }
      : surroundings.host;
    this.device = virtioNet.create(options.device ?? {}, { ...surroundings, host });
    this.view = new DataView(this.program.memory.bytes.buffer);
    this.device.open(this.program.sink);
    command(this.device, PciCommand.MEMORY | PciCommand.MASTER);
    this.#findStructures();
    const { bar, offset } = this.structure(CapabilityType.NOTIFY);
    this.notifications = new DataView(this.program.regions.get(bar)!.bytes.buffer, offset);
  }

  #findStructures(): void {
    let at = read(this.device, CONFIG, PciConfig.CAPABILITY_LIST, 1)[0]!;
    while (at !== 0) {
      const bytes = read(this.device, CONFIG, at, 20);
      const view = new DataView(bytes.buffer);
      if (bytes[0] === 0x09)
        this.structures.set(bytes[3]!, {
          bar: bytes[4]!,
          offset: view.getUint32(8, true),
          length: view.getUint32(12, true),
          at,
        });
      at = bytes[1]!;
    }
  }

  structure(type: number): Structure {
    const found = this.structures.get(type);
    if (!found) throw new Error(`no structure of type ${type}`);
    return found;
  }

  /** Reads a field of a structure. */
  get(type: number, offset: number, size: number): number {
    const place = this.structure(type);
    const bytes = read(this.device, place.bar, place.offset + offset, size);
    return bytes.reduceRight((value, byte) => value * 256 + byte, 0);
  }

  set(type: number, offset: number, size: number, value: number): void {
    const place = this.structure(type);
    const bytes = Uint8Array.from(
      { length: size },
      (_, index) => Math.floor(value / 256 ** index) & 0xff,
    );
    this.device.writeRegion(place.bar, place.offset + offset, bytes);
  }

  common(offset: number, size: number): number {
    return this.get(CapabilityType.COMMON, offset, size);
  }

  setCommon(offset: number, size: number, value: number): void {
    this.set(CapabilityType.COMMON, offset, size, value);
  }

  get status(): number {
    return this.common(CommonRegister.DEVICE_STATUS, 1);
  }

  set status(value: number) {
    this.setCommon(CommonRegister.DEVICE_STATUS, 1, value);
  }

  /** Feature numbers that the device offers. */
  offered(): number[] {
    return [...Array(64).keys()].filter((bit) => {
      this.setCommon(CommonRegister.DEVICE_FEATURE_SELECT, 4, bit >>> 5);
      return ((this.common(CommonRegister.DEVICE_FEATURE, 4) >>> (bit & 31)) & 1) !== 0;
    });
  }

  takeFeatures(bits: readonly number[]): void {
    for (const word of [0, 1]) {
      const value = bits
        .filter((bit) => bit >>> 5 === word)
        .reduce((sum, bit) => sum + 2 ** (bit & 31), 0);
      this.setCommon(CommonRegister.DRIVER_FEATURE_SELECT, 4, word);
      this.setCommon(CommonRegister.DRIVER_FEATURE, 4, value);
    }
  }

  /**
   * Resets the device and negotiates up to FEATURES_OK (3.1.1). Throws where the device does not
   * take the features.
   */
  negotiate(more: readonly number[] = []): void {
    const { ACKNOWLEDGE, DRIVER, FEATURES_OK } = DeviceStatus;
    this.status = 0;
    this.status = ACKNOWLEDGE;
    this.status = ACKNOWLEDGE | DRIVER;
    this.takeFeatures([Feature.VERSION_1, Feature.ACCESS_PLATFORM, ...more]);
    this.status = ACKNOWLEDGE | DRIVER | FEATURES_OK;
    if ((this.status & FEATURES_OK) === 0) throw new Error('features refused');
  }

  ready(): void {
    const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK } = DeviceStatus;
    this.status = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
  }

  /** Sets a queue up and enables it; the rings begin `shift` bytes into their pages. */
  createQueue(index: number, size: number, vector = 0xffff, shift = 0): DriverQueue {
    const table = this.pages(2) + shift;
    const driverArea = this.pages(2) + shift;
    const deviceArea = this.pages(2) + shift;
    this.setCommon(CommonRegister.QUEUE_SELECT, 2, index);
    this.setCommon(CommonRegister.QUEUE_SIZE, 2, size);
    this.setCommon(CommonRegister.QUEUE_MSIX_VECTOR, 2, vector);
    const areas = [table, driverArea, deviceArea];
    areas.forEach((area, area8) => {
      const at = CommonRegister.QUEUE_DESC + 8 * area8;
      const iova = this.program.iova(area);
      this.setCommon(at, 4, iova % 2 ** 32);
      this.setCommon(at + 4, 4, Math.floor(iova / 2 ** 32));
    });
    this.setCommon(CommonRegister.QUEUE_ENABLE, 2, 1);
    return new DriverQueue(this, index, size, table, driverArea, deviceArea);
  }

  /** Offset of `count` fresh pages in the program's memory. */
  pages(count: number): number {
    const offset = this.#nextPage * PAGE_SIZE;
    this.#nextPage += count;
    if (this.#nextPage > this.program.memory.pages)
      throw new Error('the program has no more memory');
    return offset;
  }

  bytes(offset: number, length: number): Uint8Array {
    return this.program.memory.bytes.subarray(offset, offset + length);
  }
}

/** A started card: pair 0 with receive buffers of a page each. */
export class NetDriver extends VirtioDriver {
  rx!: DriverQueue;
  tx!: DriverQueue;

  /** Negotiates and brings pair 0 up. `vectors`: of rx and tx. */
  start(features: readonly number[] = [], size = 64, vectors = [0xffff, 0xffff], shift = 0): this {
    this.negotiate(features);
    this.rx = this.createQueue(0, size, vectors[0], shift);
    this.tx = this.createQueue(1, size, vectors[1], shift);
    this.ready();
    return this;
  }

  /**
   * Gives the card `count` receive buffers of `length` bytes, each in a page of its own; returns
   * their offsets by head.
   */
  fill(count: number, length = 2048): Map<number, number> {
    const buffers = new Map<number, number>();
    for (let index = 0; index < count; index++) {
      const offset = this.pages(Math.ceil(length / PAGE_SIZE));
      buffers.set(this.rx.add([{ offset, length, write: true }]), offset);
    }
    return buffers;
  }

  /** Puts a frame behind a header into fresh memory; returns its part. */
  frame(bytes: Uint8Array): Part {
    const length = HEADER_BYTES + bytes.length;
    const offset = this.pages(Math.ceil(length / PAGE_SIZE));
    this.bytes(offset + HEADER_BYTES, bytes.length).set(bytes);
    return { offset, length };
  }

  send(bytes: Uint8Array): void {
    this.tx.add([this.frame(bytes)]);
    this.tx.notify();
  }
}

/**
 * The header that the card puts in front of a frame, in hexadecimal: no offload, so many buffers.
 */
export const headerOf = (buffers: number): string =>
  `${'00'.repeat(10)}${hex(Uint8Array.of(buffers, 0))}`;

/** What a card received, by its used ring: header and frame of each buffer, in hexadecimal. */
export function received(driver: NetDriver, buffers: ReadonlyMap<number, number>): string[] {
  return driver.rx
    .takeAll()
    .map(({ head, length }) => hex(driver.bytes(buffers.get(head)!, length)));
}

export { HEADER_BYTES };
