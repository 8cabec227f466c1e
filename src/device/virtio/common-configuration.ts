import { QUEUE_ENTRIES, QueueAddress, type VirtQueue } from './queue.js';
import { CommonRegister, DeviceStatus, Feature } from './registers.js';
import type { VirtioTransport } from './transport.js';

const { DESCRIPTORS } = QueueAddress;

/**
 * The common configuration structure (4.1.4.3). Each field is accessed as a whole, but for the
 * 64-bit ones, by their halves; a read of another shape finds 0 and a write is lost. Vectors beyond
 * the table read as none.
 */
export class CommonConfiguration {
  private deviceFeatureSelect = 0;
  private driverFeatureSelect = 0;
  private queueSelect = 0;

  constructor(private readonly transport: VirtioTransport) {}

  reset(): void {
    this.deviceFeatureSelect = 0;
    this.driverFeatureSelect = 0;
    this.queueSelect = 0;
  }

  read(offset: number, size: number): number {
    if (size !== fieldSize(offset)) return 0;
    const transport = this.transport;
    const { features } = transport;
    switch (offset) {
      case CommonRegister.DEVICE_FEATURE_SELECT:
        return this.deviceFeatureSelect;
      case CommonRegister.DEVICE_FEATURE:
        return features.offeredWord(this.deviceFeatureSelect);
      case CommonRegister.DRIVER_FEATURE_SELECT:
        return this.driverFeatureSelect;
      case CommonRegister.DRIVER_FEATURE:
        return features.takenWord(this.driverFeatureSelect);
      case CommonRegister.CONFIG_MSIX_VECTOR:
        return transport.configVector;
      case CommonRegister.NUM_QUEUES:
        return transport.queues.length;
      case CommonRegister.DEVICE_STATUS:
        return transport.status;
      case CommonRegister.CONFIG_GENERATION:
        return transport.configGeneration;
      case CommonRegister.QUEUE_SELECT:
        return this.queueSelect;
      default: {
        const queue = this.queue;
        return queue ? readQueue(queue, offset) : 0;
      }
    }
  }

  write(offset: number, size: number, value: number): void {
    if (size !== fieldSize(offset)) return;
    const transport = this.transport;
    switch (offset) {
      case CommonRegister.DEVICE_FEATURE_SELECT:
        this.deviceFeatureSelect = value;
        break;
      case CommonRegister.DRIVER_FEATURE_SELECT:
        this.driverFeatureSelect = value;
        break;
      case CommonRegister.DRIVER_FEATURE:
        // Settled with FEATURES_OK.
        if ((transport.status & DeviceStatus.FEATURES_OK) === 0)
          transport.features.setTaken(this.driverFeatureSelect, value);
        break;
      case CommonRegister.CONFIG_MSIX_VECTOR:
        transport.configVector = transport.vector(value);
        break;
      case CommonRegister.DEVICE_STATUS:
        if (value === 0) transport.reset();
        else transport.addStatus(value);
        break;
      case CommonRegister.QUEUE_SELECT:
        this.queueSelect = value;
        break;
      default: {
        const queue = this.queue;
        if (queue) this.writeQueue(queue, offset, value);
      }
    }
  }

  /** A queue that is enabled keeps its place and size until it is reset. */
  private writeQueue(queue: VirtQueue, offset: number, value: number): void {
    if (offset === CommonRegister.QUEUE_MSIX_VECTOR) {
      queue.vector = this.transport.vector(value);
    } else if (offset === CommonRegister.QUEUE_RESET) {
      if (value === 1 && this.transport.features.has(Feature.RING_RESET)) queue.reset();
    } else if (!queue.enabled) {
      if (offset === CommonRegister.QUEUE_SIZE) {
        if (isQueueSize(value)) queue.size = value;
      } else if (offset === CommonRegister.QUEUE_ENABLE) {
        if (value === 1) this.transport.enabled(queue);
      } else if (isAddress(offset)) {
        queue.addresses[addressWord(offset)] = value;
      }
    }
  }

  private get queue(): VirtQueue | undefined {
    return this.transport.queues[this.queueSelect];
  }
}

/** A queue's fields; one that is being reset is reset at once, so QUEUE_RESET reads as 0. */
function readQueue(queue: VirtQueue, offset: number): number {
  switch (offset) {
    case CommonRegister.QUEUE_SIZE:
      return queue.size;
    case CommonRegister.QUEUE_MSIX_VECTOR:
      return queue.vector;
    case CommonRegister.QUEUE_ENABLE:
      return queue.enabled ? 1 : 0;
    case CommonRegister.QUEUE_NOTIFY_OFF:
      return queue.index;
    default:
      return isAddress(offset) ? queue.addresses[addressWord(offset)]! : 0;
  }
}

function isAddress(offset: number): boolean {
  return offset >= CommonRegister.QUEUE_DESC && offset < CommonRegister.QUEUE_NOTIFY_DATA;
}

/** The word of `VirtQueue.addresses` behind a register: they come in the same order. */
function addressWord(offset: number): number {
  return DESCRIPTORS + (offset - CommonRegister.QUEUE_DESC) / 4;
}

/** 1 to the most, a power of two (2.7). */
function isQueueSize(value: number): boolean {
  return value > 0 && value <= QUEUE_ENTRIES && (value & (value - 1)) === 0;
}

/** Bytes of the field at an offset, 0 where none begins. */
function fieldSize(offset: number): number {
  if (offset < CommonRegister.CONFIG_MSIX_VECTOR || isAddress(offset))
    return offset % 4 === 0 ? 4 : 0;
  if (offset === CommonRegister.DEVICE_STATUS || offset === CommonRegister.CONFIG_GENERATION)
    return 1;
  return offset < CommonRegister.SIZE && offset % 2 === 0 ? 2 : 0;
}
