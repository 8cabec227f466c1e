import { QUEUE_ENTRIES, QueueAddress, type VirtQueue } from './queue.js';
import { LegacyRegister, NO_VECTOR } from './registers.js';
import type { VirtioTransport } from './transport.js';

const PAGE_BYTES = 4096;
const PAGES_HIGH = 2 ** 20;
/** Where the rings lie behind the descriptor table, which takes a page (2.7.2). */
const DRIVER_PAGE = 1;
const DEVICE_PAGE = 2;

/**
 * The registers of the legacy interface (4.1.4.8), in an I/O BAR. Fields are accessed as a whole; a
 * read of another shape finds 0 and a write is lost. The vectors are there while MSI-X is on, and
 * move the device's configuration.
 */
export class LegacyRegisters {
  private queueSelect = 0;

  constructor(private readonly transport: VirtioTransport) {}

  reset(): void {
    this.queueSelect = 0;
  }

  read(offset: number, size: number): number {
    const transport = this.transport;
    if (offset >= this.configStart) return transport.readConfig(offset - this.configStart, size);
    if (size !== fieldSize(offset)) return 0;
    const queue = this.queue;
    switch (offset) {
      case LegacyRegister.DEVICE_FEATURES:
        return transport.features.offeredWord(0);
      case LegacyRegister.DRIVER_FEATURES:
        return transport.features.takenWord(0);
      case LegacyRegister.QUEUE_ADDRESS:
        return queue?.enabled === true ? pageOf(queue) : 0;
      case LegacyRegister.QUEUE_SIZE:
        return queue === undefined ? 0 : QUEUE_ENTRIES;
      case LegacyRegister.QUEUE_SELECT:
        return this.queueSelect;
      case LegacyRegister.DEVICE_STATUS:
        return transport.status;
      case LegacyRegister.ISR:
        return transport.takeIsr();
      case LegacyRegister.CONFIG_VECTOR:
        return transport.configVector;
      case LegacyRegister.QUEUE_VECTOR:
        return queue?.vector ?? NO_VECTOR;
      default:
        return 0;
    }
  }

  write(offset: number, size: number, value: number): void {
    const transport = this.transport;
    if (offset >= this.configStart || size !== fieldSize(offset)) return;
    const queue = this.queue;
    switch (offset) {
      case LegacyRegister.DRIVER_FEATURES:
        transport.features.setTaken(0, value);
        break;
      case LegacyRegister.QUEUE_ADDRESS:
        if (queue !== undefined) this.setQueue(queue, value);
        break;
      case LegacyRegister.QUEUE_SELECT:
        this.queueSelect = value;
        break;
      case LegacyRegister.QUEUE_NOTIFY:
        transport.notify(value);
        break;
      case LegacyRegister.DEVICE_STATUS:
        if (value === 0) transport.reset();
        else transport.setLegacyStatus(value);
        break;
      case LegacyRegister.CONFIG_VECTOR:
        transport.configVector = transport.vector(value);
        break;
      case LegacyRegister.QUEUE_VECTOR:
        if (queue !== undefined) queue.vector = transport.vector(value);
        break;
    }
  }

  /** The page of the descriptor table says where all of a queue lies; 0 takes the queue away. */
  private setQueue(queue: VirtQueue, page: number): void {
    const { vector } = queue;
    queue.reset();
    queue.vector = vector;
    if (page === 0) return;
    const { DESCRIPTORS, DRIVER, DEVICE } = QueueAddress;
    setAddress(queue, DESCRIPTORS, page);
    setAddress(queue, DRIVER, page + DRIVER_PAGE);
    setAddress(queue, DEVICE, page + DEVICE_PAGE);
    this.transport.enabled(queue);
  }

  private get queue(): VirtQueue | undefined {
    return this.transport.queues[this.queueSelect];
  }

  private get configStart(): number {
    return this.transport.usesMessages ? LegacyRegister.CONFIG_MSIX : LegacyRegister.CONFIG;
  }
}

function setAddress(queue: VirtQueue, at: number, page: number): void {
  queue.addresses[at] = page * PAGE_BYTES; // stores the low 32 bits
  queue.addresses[at + 1] = page / PAGES_HIGH;
}

function pageOf(queue: VirtQueue): number {
  const { DESCRIPTORS } = QueueAddress;
  const low = queue.addresses[DESCRIPTORS]! / PAGE_BYTES;
  return (queue.addresses[DESCRIPTORS + 1]! * PAGES_HIGH + low) >>> 0;
}

/** Bytes of the field at an offset, 0 where none begins. */
function fieldSize(offset: number): number {
  if (offset < LegacyRegister.QUEUE_SIZE) return offset % 4 === 0 ? 4 : 0;
  if (offset === LegacyRegister.DEVICE_STATUS || offset === LegacyRegister.ISR) return 1;
  return offset % 2 === 0 ? 2 : 0;
}
