import type { AllocateDma, DmaBuffer } from '../../mm/frame-memory.js';
import { DmaList } from '../dma-list.js';
import type { DmaPort } from '../dma-port.js';
import { type Batch, commandAt } from './batch.js';
import {
  ALL_NAMESPACES,
  DEALLOCATE,
  FORCE_UNIT_ACCESS,
  IoOpcode,
  SQE_UNSUPPORTED,
  Sqe,
} from './command.js';
import type { Features } from './features.js';
import { TRANSFER_BYTES } from './limits.js';
import type { Statistics } from './log-pages.js';
import type { Namespace } from './namespace.js';
import { Status } from './status.js';

const RANGE_BYTES = 16;

/** The NVM command set (NVM Express 1.4, 6). */
export class IoCommands {
  readonly #namespace: Namespace;
  readonly #batch: Batch;
  readonly #port: DmaPort;
  readonly #features: Features;
  readonly #statistics: Statistics;
  readonly #allocate: AllocateDma;
  readonly #list = new DmaList(TRANSFER_BYTES / 4096 + 2);
  /**
   * Memory for what is neither written to the disk nor read from it: compared data, ranges. Made
   * when first needed.
   */
  #scratch: DmaBuffer | null = null;
  /** What the disk holds where it is compared. */
  #stored: DmaBuffer | null = null;
  /** What was written must be durable before this batch is completed. */
  #durable = false;

  constructor(
    namespace: Namespace,
    batch: Batch,
    port: DmaPort,
    features: Features,
    statistics: Statistics,
    allocate: AllocateDma,
  ) {
    this.#namespace = namespace;
    this.#batch = batch;
    this.#port = port;
    this.#features = features;
    this.#statistics = statistics;
    this.#allocate = allocate;
  }

  /** Adds the fetch of the command's PRP list to `lists`, where it will need one. */
  prefetch(at: number, slot: number, lists: DmaList): void {
    const { commands, prp } = this.#batch;
    const opcode = commands[at + Sqe.HEAD]! & 0xff;
    if (opcode !== IoOpcode.READ && opcode !== IoOpcode.WRITE && opcode !== IoOpcode.COMPARE)
      return;
    const length = ((commands[at + Sqe.DW12]! & 0xffff) + 1) * this.#namespace.blockBytes;
    if (length <= TRANSFER_BYTES) prp.prefetch(commands, at, length, slot, lists);
  }

  /**
   * Does the command at word `at`, or puts its data into the batch's lists. Returns its status so
   * far.
   */
  execute(at: number, slot: number): number {
    const { commands } = this.#batch;
    const head = commands[at + Sqe.HEAD]!;
    if ((head & SQE_UNSUPPORTED) !== 0) return Status.INVALID_FIELD;
    const namespace = commands[at + Sqe.NAMESPACE]!;
    const opcode = head & 0xff;
    if (namespace !== 1 && !(namespace === ALL_NAMESPACES && opcode === IoOpcode.FLUSH)) {
      return knownOpcode(opcode) ? Status.INVALID_NAMESPACE : Status.INVALID_OPCODE;
    }
    switch (opcode) {
      case IoOpcode.READ:
      case IoOpcode.WRITE:
      case IoOpcode.COMPARE:
        return this.#transfer(at, slot, opcode);
      case IoOpcode.FLUSH:
        // Once for a batch, however many there are.
        this.#durable = true;
        return Status.SUCCESS;
      case IoOpcode.WRITE_ZEROES:
        return this.#writeZeroes(at);
      case IoOpcode.DATASET_MANAGEMENT:
        return this.#datasetManagement(at, slot);
      default:
        return Status.INVALID_OPCODE;
    }
  }

  /**
   * The data of the batch's writes has arrived: makes it durable where it must be, or fails the
   * batch's writes and flushes.
   */
  settle(): void {
    if (!this.#durable) return;
    this.#durable = false;
    if (this.#namespace.store.flush()) return;
    const batch = this.#batch;
    for (let slot = 0; slot < batch.completed; slot++) {
      const opcode = batch.commands[commandAt(slot) + Sqe.HEAD]! & 0xff;
      if (opcode !== IoOpcode.READ && opcode !== IoOpcode.COMPARE)
        batch.fail(slot, Status.WRITE_FAULT);
    }
  }

  #transfer(at: number, slot: number, opcode: number): number {
    const batch = this.#batch;
    const { commands, prp } = batch;
    const namespace = this.#namespace;
    const count = (commands[at + Sqe.DW12]! & 0xffff) + 1;
    const first = commands[at + Sqe.DW11]! * 2 ** 32 + commands[at + Sqe.DW10]!;
    const length = count * namespace.blockBytes;
    if (length > TRANSFER_BYTES) return Status.INVALID_FIELD;
    if (!namespace.holds(first, count)) return Status.LBA_OUT_OF_RANGE;
    if (opcode === IoOpcode.WRITE && namespace.store.readOnly) return Status.WRITE_PROTECTED;
    const status = prp.resolve(commands, at, length, slot);
    if (status !== Status.SUCCESS) return status;
    if (batch.listRefused(slot)) return Status.DATA_TRANSFER_ERROR;
    const position = first * namespace.blockBytes;
    const statistics = this.#statistics;
    if (opcode === IoOpcode.COMPARE) {
      statistics.reads++;
      return this.#compare(position, length);
    }
    if (opcode === IoOpcode.READ) {
      statistics.reads++;
      statistics.bytesRead += length;
      namespace.append(batch.outgoing, prp, position, length, batch.tag);
      return Status.SUCCESS;
    }
    statistics.writes++;
    statistics.bytesWritten += length;
    if (!this.#features.writeCache || (commands[at + Sqe.DW12]! & FORCE_UNIT_ACCESS) !== 0) {
      this.#durable = true;
    }
    namespace.append(batch.incoming, prp, position, length, batch.tag);
    return Status.SUCCESS;
  }

  #compare(position: number, length: number): number {
    // What the batch has written so far counts: it may be what is compared.
    this.#batch.receive();
    if (!this.#readScratch(length)) return Status.DATA_TRANSFER_ERROR;
    this.#stored ??= this.#allocate(TRANSFER_BYTES);
    if (!this.#namespace.store.read(position, length, this.#stored)) return Status.READ_ERROR;
    const held = this.#stored.bytes.subarray(0, length);
    const given = this.#memory().bytes.subarray(0, length);
    return Buffer.compare(held, given) === 0 ? Status.SUCCESS : Status.COMPARE_FAILURE;
  }

  #writeZeroes(at: number): number {
    const { commands } = this.#batch;
    const count = (commands[at + Sqe.DW12]! & 0xffff) + 1;
    const first = commands[at + Sqe.DW11]! * 2 ** 32 + commands[at + Sqe.DW10]!;
    if (!this.#namespace.holds(first, count)) return Status.LBA_OUT_OF_RANGE;
    const { blockBytes, store } = this.#namespace;
    if (store.readOnly) return Status.WRITE_PROTECTED;
    if (!store.zero(first * blockBytes, count * blockBytes)) return Status.WRITE_FAULT;
    this.#statistics.writes++;
    if (!this.#features.writeCache || (commands[at + Sqe.DW12]! & FORCE_UNIT_ACCESS) !== 0) {
      this.#durable = true;
    }
    return Status.SUCCESS;
  }

  #datasetManagement(at: number, slot: number): number {
    const { commands, prp } = this.#batch;
    const count = (commands[at + Sqe.DW10]! & 0xff) + 1;
    const status = prp.resolve(commands, at, count * RANGE_BYTES, slot);
    if (status !== Status.SUCCESS) return status;
    if (!this.#readScratch(count * RANGE_BYTES)) return Status.DATA_TRANSFER_ERROR;
    const { bytes } = this.#memory();
    const ranges = new DataView(bytes.buffer, bytes.byteOffset, count * RANGE_BYTES);
    for (let range = 0; range < count; range++) {
      if (!this.#namespace.holds(rangeFirst(ranges, range), rangeBlocks(ranges, range))) {
        return Status.LBA_OUT_OF_RANGE;
      }
    }
    if ((commands[at + Sqe.DW11]! & DEALLOCATE) === 0) return Status.SUCCESS;
    const { blockBytes, store } = this.#namespace;
    if (store.readOnly) return Status.WRITE_PROTECTED;
    for (let range = 0; range < count; range++) {
      const blocks = rangeBlocks(ranges, range);
      if (blocks > 0 && !store.zero(rangeFirst(ranges, range) * blockBytes, blocks * blockBytes))
        return Status.WRITE_FAULT;
    }
    if (!this.#features.writeCache) this.#durable = true;
    return Status.SUCCESS;
  }

  /** Reads the resolved data of a command into the scratch memory, at once. */
  #readScratch(length: number): boolean {
    this.#list.clear();
    this.#batch.prp.append(this.#list, 0, length, this.#memory(), 0, 0);
    this.#batch.moved += this.#list.count;
    return this.#port.read(this.#list, null);
  }

  #memory(): DmaBuffer {
    this.#scratch ??= this.#allocate(TRANSFER_BYTES);
    return this.#scratch;
  }
}

function knownOpcode(opcode: number): boolean {
  return (
    opcode <= IoOpcode.READ ||
    opcode === IoOpcode.COMPARE ||
    opcode === IoOpcode.WRITE_ZEROES ||
    opcode === IoOpcode.DATASET_MANAGEMENT
  );
}

function rangeBlocks(ranges: DataView, range: number): number {
  return ranges.getUint32(range * RANGE_BYTES + 4, true);
}

function rangeFirst(ranges: DataView, range: number): number {
  const at = range * RANGE_BYTES + 8;
  return ranges.getUint32(at + 4, true) * 2 ** 32 + ranges.getUint32(at, true);
}
