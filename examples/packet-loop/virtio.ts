/**
 * A driver of a modern virtio network card, as a user-space driver has it: rings in its own memory,
 * the notifications mapped, and no interrupts (OASIS Virtual I/O Device 1.2: 4.1, 2.7, 5.1).
 */
import { MAP_SHARED, PROT_READ, PROT_WRITE } from '../../src/abi/linux.js';
import { REGION_OFFSET } from '../../src/abi/vfio.js';
import { allocateNative, bytesAt, mmap, must } from '../../src/mm/process/libc.js';
import type { VfioClient } from '../dma-copy/vfio.js';

const PAGE = 4096;
const CONFIG = 7;
const CAPABILITIES = 0x34;
const VENDOR_SPECIFIC = 9;
const COMMON = 1;
const NOTIFY = 2;
// Common configuration.
const DRIVER_FEATURE_SELECT = 8;
const DRIVER_FEATURE = 12;
const DEVICE_STATUS = 20;
const QUEUE_SELECT = 22;
const QUEUE_SIZE = 24;
const QUEUE_ENABLE = 28;
const QUEUE_NOTIFY_OFF = 30;
const QUEUE_DESC = 32;
// VERSION_1 and ACCESS_PLATFORM, in the second word of features.
const FEATURES = 3;
const ACKNOWLEDGE = 1;
const DRIVER = 2;
const DRIVER_OK = 4;
const FEATURES_OK = 8;
const DESCRIPTOR_WRITE = 2;
const NO_INTERRUPT = 1;
export const HEADER = 12;

interface Structure {
  readonly bar: number;
  readonly offset: number;
  /** Of notifications: bytes between two of them. */
  readonly multiplier: number;
}

function findStructure(vfio: VfioClient, type: number): Structure {
  let at = vfio.readRegion(CONFIG, CAPABILITIES, 1);
  while (at !== 0) {
    if (
      vfio.readRegion(CONFIG, at, 1) === VENDOR_SPECIFIC &&
      vfio.readRegion(CONFIG, at + 3, 1) === type
    )
      return {
        bar: vfio.readRegion(CONFIG, at + 4, 1),
        offset: vfio.readRegion(CONFIG, at + 8, 4),
        multiplier: vfio.readRegion(CONFIG, at + 16, 4),
      };
    at = vfio.readRegion(CONFIG, at + 1, 1);
  }
  throw new Error('no modern virtio device');
}

/**
 * Our end of a split virtqueue whose descriptors are buffers of fixed places: descriptor i is
 * buffer i.
 */
export class Queue {
  readonly #available: Uint16Array;
  readonly #used: Uint16Array;
  readonly #usedWords: Uint32Array;
  readonly #descriptors: DataView;
  #availableIndex = 0;
  #usedIndex = 0;

  /** `memory`: three pages for descriptors, available ring and used ring. */
  constructor(
    readonly size: number,
    memory: Uint8Array,
    /** Tells the device. */
    readonly notify: () => void,
  ) {
    const { buffer, byteOffset } = memory;
    this.#descriptors = new DataView(buffer, byteOffset, size * 16);
    this.#available = new Uint16Array(buffer, byteOffset + PAGE, 2 + size);
    this.#used = new Uint16Array(buffer, byteOffset + 2 * PAGE, 2);
    this.#usedWords = new Uint32Array(buffer, byteOffset + 2 * PAGE, 1 + 2 * size);
    this.#available[0] = NO_INTERRUPT;
  }

  /** Says where buffer `index` is and how long. */
  describe(index: number, iova: number, length: number, isWrite: boolean): void {
    this.#descriptors.setBigUint64(index * 16, BigInt(iova), true);
    this.#descriptors.setUint32(index * 16 + 8, length, true);
    this.#descriptors.setUint16(index * 16 + 12, isWrite ? DESCRIPTOR_WRITE : 0, true);
  }

  /** Puts a buffer into the ring; the device sees it after `publish`. */
  add(index: number): void {
    this.#available[2 + (this.#availableIndex & (this.size - 1))] = index;
    this.#availableIndex = (this.#availableIndex + 1) & 0xffff;
  }

  publish(): void {
    Atomics.store(this.#available, 1, this.#availableIndex);
  }

  /** Buffers that the device has given back. */
  get ready(): number {
    return (Atomics.load(this.#used, 1) - this.#usedIndex) & 0xffff;
  }

  /** Takes the next buffer that is ready. */
  take(): number {
    const index = this.#usedWords[1 + 2 * (this.#usedIndex & (this.size - 1))]!;
    this.#usedIndex = (this.#usedIndex + 1) & 0xffff;
    return index;
  }
}

/** A card with one receive and one transmit queue. */
export class VirtioCard {
  readonly rx: Queue;
  readonly tx: Queue;
  readonly #common: Structure;

  /**
   * `memory`: six pages at I/O virtual address `iova`. `mapped`: notify through memory, else by a
   * system call.
   */
  constructor(
    private readonly vfio: VfioClient,
    size: number,
    memory: Uint8Array,
    iova: number,
    mapped: boolean,
  ) {
    this.#common = findStructure(vfio, COMMON);
    this.#set(DEVICE_STATUS, 1, 0);
    this.#set(DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER);
    for (const word of [0, 1]) {
      this.#set(DRIVER_FEATURE_SELECT, 4, word);
      this.#set(DRIVER_FEATURE, 4, word === 1 ? FEATURES : 0);
    }
    this.#set(DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    if ((this.#get(DEVICE_STATUS, 1) & FEATURES_OK) === 0)
      throw new Error('the device refused our features');
    const notifier = mapped ? mappedNotifier(vfio) : callingNotifier(vfio);
    this.rx = this.#createQueue(0, size, memory.subarray(0, 3 * PAGE), iova, notifier);
    this.tx = this.#createQueue(1, size, memory.subarray(3 * PAGE), iova + 3 * PAGE, notifier);
  }

  start(): void {
    this.#set(DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
  }

  get status(): number {
    return this.#get(DEVICE_STATUS, 1);
  }

  #createQueue(
    index: number,
    size: number,
    memory: Uint8Array,
    iova: number,
    notifier: Notifier,
  ): Queue {
    this.#set(QUEUE_SELECT, 2, index);
    this.#set(QUEUE_SIZE, 2, size);
    for (const area of [0, 1, 2]) {
      const at = iova + area * PAGE;
      this.#set(QUEUE_DESC + 8 * area, 4, at % 2 ** 32);
      this.#set(QUEUE_DESC + 8 * area + 4, 4, Math.floor(at / 2 ** 32));
    }
    const notify = notifier(this.#get(QUEUE_NOTIFY_OFF, 2), index);
    this.#set(QUEUE_ENABLE, 2, 1);
    return new Queue(size, memory, notify);
  }

  #get(offset: number, size: number): number {
    return this.vfio.readRegion(this.#common.bar, this.#common.offset + offset, size);
  }

  #set(offset: number, size: number, value: number): void {
    this.vfio.writeRegion(this.#common.bar, this.#common.offset + offset, size, value);
  }
}

/** Makes what tells the device of a queue. */
type Notifier = (notifyOffset: number, queue: number) => () => void;

function mappedNotifier(vfio: VfioClient): Notifier {
  const { bar, offset, multiplier } = findStructure(vfio, NOTIFY);
  const place = bar * REGION_OFFSET + offset;
  const address = must(
    'mmap',
    mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, vfio.device, place),
  );
  const registers = new Uint16Array(bytesAt(address, PAGE).buffer, 0, PAGE / 2);
  return (notifyOffset, queue) => () => {
    Atomics.store(registers, (notifyOffset * multiplier) / 2, queue);
  };
}

function callingNotifier(vfio: VfioClient): Notifier {
  const { bar, offset, multiplier } = findStructure(vfio, NOTIFY);
  return (notifyOffset, queue) => () =>
    vfio.writeRegion(bar, offset + notifyOffset * multiplier, 2, queue);
}

/** Zeroed memory for rings and buffers. */
export const allocate = allocateNative;
