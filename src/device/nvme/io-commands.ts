import { PAGE_SIZE } from '../../mm/address-space.js';
import type { AllocateDma, DmaBuffer } from '../../mm/frame-memory.js';
import { DmaList } from '../dma-list.js';
import type { DmaPort } from '../dma-port.js';
import { type Batch, commandAt } from './batch.js';
import {
  ALL_NAMESPACES,
  blockCount,
  DEALLOCATE,
  FORCE_UNIT_ACCESS,
  FROM_HOST,
  IoOpcode,
  SQE_FUSED,
  SQE_SGL,
  Sqe,
  startingBlock,
} from './command.js';
import type { Features } from './features.js';
import { COPY_BLOCKS, COPY_RANGES, TRANSFER_BYTES, TRANSFER_PIECES } from './limits.js';
import type { Statistics } from './log-pages.js';
import type { Namespace } from './namespace.js';
import { Status } from './status.js';

const opcodes: ReadonlySet<number> = new Set(Object.values(IoOpcode));
const RANGE_BYTES = 16;
/** Of Copy: a source range, and the format of DW12 that is known. */
const COPY_RANGE_BYTES = 32;
const COPY_FORMAT = 0xf00;
/** Low bits of an opcode: data from the host, or to it. */
const DATA = 3;

/** The NVM command set (NVM Express 1.4, 6; Verify, Copy: NVM command set 1.0, 3.2). */
export class IoCommands {
  private readonly list = new DmaList(TRANSFER_PIECES);
  /**
   * Memory for what is neither written to the disk nor read from it: compared data, ranges. Made
   * when first needed.
   */
  private scratchMemory: DmaBuffer | null = null;
  /** What the disk holds where it is compared, verified or copied. */
  private stored: DmaBuffer | null = null;
  /** What was written must be durable before this batch is completed. */
  private durable = false;
  /** Result word of the command executed last. */
  result = 0;

  constructor(
    private readonly namespace: Namespace,
    private readonly batch: Batch,
    private readonly port: DmaPort,
    private readonly features: Features,
    private readonly statistics: Statistics,
    private readonly allocate: AllocateDma,
  ) {}

  /** Adds the fetch of the command's PRP list or SGL segment to `lists`, where it will need one. */
  prefetch(at: number, slot: number, lists: DmaList): void {
    const { commands, data } = this.batch;
    const head = commands[at + Sqe.HEAD]!;
    const opcode = head & 0xff;
    const isTransfer =
      opcode === IoOpcode.READ || opcode === IoOpcode.WRITE || opcode === IoOpcode.COMPARE;
    // The lists of ranges of the others take no PRP list.
    if (!isTransfer && ((head & SQE_SGL) === 0 || (opcode & DATA) === 0)) return;
    const length = blockCount(commands, at) * this.namespace.blockBytes;
    if (length <= TRANSFER_BYTES || !isTransfer) data.prefetch(commands, at, length, slot, lists);
  }

  /** Bytes that the command at word `at` moves from or to memory. */
  dataLength(at: number): number {
    const { commands } = this.batch;
    switch (commands[at + Sqe.HEAD]! & 0xff) {
      case IoOpcode.READ:
      case IoOpcode.WRITE:
      case IoOpcode.COMPARE:
        return blockCount(commands, at) * this.namespace.blockBytes;
      case IoOpcode.DATASET_MANAGEMENT:
        return ((commands[at + Sqe.DW10]! & 0xff) + 1) * RANGE_BYTES;
      case IoOpcode.COPY:
        return ((commands[at + Sqe.DW12]! & 0xff) + 1) * COPY_RANGE_BYTES;
      default:
        return 0;
    }
  }

  /**
   * Does the command at word `at`, or puts its data into the batch's lists. Returns its status so
   * far.
   */
  execute(at: number, slot: number): number {
    const { commands } = this.batch;
    const head = commands[at + Sqe.HEAD]!;
    this.result = 0;
    if ((head & SQE_FUSED) !== 0 || (head & SQE_SGL) === SQE_SGL) return Status.INVALID_FIELD;
    const namespace = commands[at + Sqe.NAMESPACE]!;
    const opcode = head & 0xff;
    if (namespace !== 1 && !(namespace === ALL_NAMESPACES && opcode === IoOpcode.FLUSH)) {
      return opcodes.has(opcode) ? Status.INVALID_NAMESPACE : Status.INVALID_OPCODE;
    }
    switch (opcode) {
      case IoOpcode.READ:
      case IoOpcode.WRITE:
      case IoOpcode.COMPARE:
        return this.transfer(at, slot, opcode);
      case IoOpcode.FLUSH:
        // Once for a batch, however many there are.
        this.durable = true;
        return Status.SUCCESS;
      case IoOpcode.WRITE_ZEROES:
        return this.writeZeroes(at);
      case IoOpcode.DATASET_MANAGEMENT:
        return this.datasetManagement(at, slot);
      case IoOpcode.WRITE_UNCORRECTABLE:
        return this.writeUncorrectable(at);
      case IoOpcode.VERIFY:
        return this.verify(at);
      case IoOpcode.COPY:
        return this.copy(at, slot);
      default:
        return Status.INVALID_OPCODE;
    }
  }

  /**
   * The data of the batch's writes has arrived: makes it durable where it must be, or fails the
   * batch's writes and flushes.
   */
  settle(): void {
    if (!this.durable) return;
    this.durable = false;
    if (this.namespace.store.flush()) return;
    const batch = this.batch;
    for (let slot = 0; slot < batch.completed; slot++) {
      const opcode = batch.commands[commandAt(slot) + Sqe.HEAD]! & 0xff;
      if (opcode !== IoOpcode.READ && opcode !== IoOpcode.COMPARE && opcode !== IoOpcode.VERIFY)
        batch.fail(slot, Status.WRITE_FAULT);
    }
  }

  private transfer(at: number, slot: number, opcode: number): number {
    const batch = this.batch;
    const { commands, data } = batch;
    const namespace = this.namespace;
    const count = blockCount(commands, at);
    const first = startingBlock(commands, at);
    const length = count * namespace.blockBytes;
    if (length > TRANSFER_BYTES) return Status.INVALID_FIELD;
    if (!namespace.holds(first, count)) return Status.LBA_OUT_OF_RANGE;
    if (opcode === IoOpcode.WRITE && namespace.store.readOnly) return Status.WRITE_PROTECTED;
    const status = batch.resolve(at, length, slot, (opcode & FROM_HOST) !== 0);
    if (status !== Status.SUCCESS) return status;
    if (opcode === IoOpcode.WRITE) namespace.uncorrectable.clear(first, count);
    else if (namespace.uncorrectable.touches(first, count)) return Status.READ_ERROR;
    const position = first * namespace.blockBytes;
    const statistics = this.statistics;
    if (opcode === IoOpcode.COMPARE) {
      statistics.reads++;
      return this.compare(position, length);
    }
    if (opcode === IoOpcode.READ) {
      statistics.reads++;
      statistics.bytesRead += length;
      namespace.append(batch.outgoing, data, position, length, batch.tag);
      return Status.SUCCESS;
    }
    statistics.writes++;
    statistics.bytesWritten += length;
    this.noteWrite(commands[at + Sqe.DW12]!);
    namespace.append(batch.incoming, data, position, length, batch.tag);
    return Status.SUCCESS;
  }

  private compare(position: number, length: number): number {
    // What the batch has written so far counts: it may be what is compared.
    this.batch.receive();
    if (!this.readScratch(length)) return Status.DATA_TRANSFER_ERROR;
    const stored = this.storedMemory();
    if (!this.namespace.store.read(position, length, stored)) return Status.READ_ERROR;
    const held = stored.bytes.subarray(0, length);
    const given = this.scratch.bytes.subarray(0, length);
    return Buffer.compare(held, given) === 0 ? Status.SUCCESS : Status.COMPARE_FAILURE;
  }

  private writeZeroes(at: number): number {
    const { commands } = this.batch;
    const count = blockCount(commands, at);
    const first = startingBlock(commands, at);
    if (!this.namespace.holds(first, count)) return Status.LBA_OUT_OF_RANGE;
    const { blockBytes, store } = this.namespace;
    if (store.readOnly) return Status.WRITE_PROTECTED;
    if (!store.zero(first * blockBytes, count * blockBytes)) return Status.WRITE_FAULT;
    this.namespace.uncorrectable.clear(first, count);
    this.statistics.writes++;
    this.noteWrite(commands[at + Sqe.DW12]!);
    return Status.SUCCESS;
  }

  private datasetManagement(at: number, slot: number): number {
    const { commands } = this.batch;
    const count = (commands[at + Sqe.DW10]! & 0xff) + 1;
    const status = this.batch.resolve(at, count * RANGE_BYTES, slot, true);
    if (status !== Status.SUCCESS) return status;
    if (!this.readScratch(count * RANGE_BYTES)) return Status.DATA_TRANSFER_ERROR;
    const { bytes } = this.scratch;
    const ranges = new DataView(bytes.buffer, bytes.byteOffset, count * RANGE_BYTES);
    for (let range = 0; range < count; range++) {
      if (!this.namespace.holds(rangeFirst(ranges, range), rangeBlocks(ranges, range))) {
        return Status.LBA_OUT_OF_RANGE;
      }
    }
    if ((commands[at + Sqe.DW11]! & DEALLOCATE) === 0) return Status.SUCCESS;
    const { blockBytes, store } = this.namespace;
    if (store.readOnly) return Status.WRITE_PROTECTED;
    for (let range = 0; range < count; range++) {
      const blocks = rangeBlocks(ranges, range);
      const first = rangeFirst(ranges, range);
      if (blocks > 0 && !store.zero(first * blockBytes, blocks * blockBytes))
        return Status.WRITE_FAULT;
      this.namespace.uncorrectable.clear(first, blocks);
    }
    this.noteWrite(0);
    return Status.SUCCESS;
  }

  /** Spoils blocks: reading them is an error until they are written. */
  private writeUncorrectable(at: number): number {
    const { commands } = this.batch;
    const count = blockCount(commands, at);
    const first = startingBlock(commands, at);
    if (!this.namespace.holds(first, count)) return Status.LBA_OUT_OF_RANGE;
    if (this.namespace.store.readOnly) return Status.WRITE_PROTECTED;
    this.namespace.uncorrectable.mark(first, count);
    return Status.SUCCESS;
  }

  /** Reads blocks for nobody; no more than a transfer's (VSL). */
  private verify(at: number): number {
    const { commands } = this.batch;
    const { blockBytes, store, uncorrectable } = this.namespace;
    const count = blockCount(commands, at);
    const first = startingBlock(commands, at);
    if (count * blockBytes > TRANSFER_BYTES) return Status.INVALID_FIELD;
    if (!this.namespace.holds(first, count)) return Status.LBA_OUT_OF_RANGE;
    if (uncorrectable.touches(first, count)) return Status.READ_ERROR;
    this.batch.moved += Math.ceil((count * blockBytes) / PAGE_SIZE);
    const isRead = store.read(first * blockBytes, count * blockBytes, this.storedMemory());
    return isRead ? Status.SUCCESS : Status.READ_ERROR;
  }

  /**
   * Copies ranges of blocks, one behind the other, to where the command says; all are read before
   * any is written. Where a range cannot be, the result is its number.
   */
  private copy(at: number, slot: number): number {
    const batch = this.batch;
    const { commands } = batch;
    const { blockBytes, store, uncorrectable } = this.namespace;
    const dw12 = commands[at + Sqe.DW12]!;
    const count = (dw12 & 0xff) + 1;
    const target = startingBlock(commands, at);
    if ((dw12 & COPY_FORMAT) !== 0) return Status.INVALID_FIELD;
    if (count > COPY_RANGES) return Status.COMMAND_SIZE_LIMIT;
    const status = batch.resolve(at, count * COPY_RANGE_BYTES, slot, true);
    if (status !== Status.SUCCESS) return status;
    // What the batch has written so far counts: it may be what is copied.
    batch.receive();
    if (!this.readScratch(count * COPY_RANGE_BYTES)) return Status.DATA_TRANSFER_ERROR;
    const { bytes } = this.scratch;
    const ranges = new DataView(bytes.buffer, bytes.byteOffset, count * COPY_RANGE_BYTES);
    let total = 0;
    for (let range = 0; range < count; range++) total += copyBlocks(ranges, range);
    const stored = this.storedMemory();
    let done = 0;
    for (let range = 0; range < count; range++) {
      const first = copyFirst(ranges, range);
      const blocks = copyBlocks(ranges, range);
      this.result = range;
      if (blocks > COPY_BLOCKS || total > COPY_BLOCKS) return Status.COMMAND_SIZE_LIMIT;
      if (!this.namespace.holds(first, blocks)) return Status.LBA_OUT_OF_RANGE;
      if (uncorrectable.touches(first, blocks)) return Status.READ_ERROR;
      if (!store.read(first * blockBytes, blocks * blockBytes, stored, done * blockBytes))
        return Status.READ_ERROR;
      done += blocks;
    }
    this.result = 0;
    batch.moved += Math.ceil((2 * total * blockBytes) / PAGE_SIZE);
    if (!this.namespace.holds(target, total)) return Status.LBA_OUT_OF_RANGE;
    if (store.readOnly) return Status.WRITE_PROTECTED;
    if (!store.write(target * blockBytes, total * blockBytes, stored)) return Status.WRITE_FAULT;
    uncorrectable.clear(target, total);
    this.noteWrite(dw12);
    return Status.SUCCESS;
  }

  /** A command writes: durably without a write cache, or with force unit access in its DW12. */
  private noteWrite(dw12: number): void {
    if (!this.features.writeCache || (dw12 & FORCE_UNIT_ACCESS) !== 0) this.durable = true;
  }

  /** Reads the resolved data of a command into the scratch memory, at once. */
  private readScratch(length: number): boolean {
    this.list.clear();
    this.batch.data.append(this.list, 0, length, this.scratch, 0, 0);
    this.batch.moved += this.list.count;
    return this.port.read(this.list, null);
  }

  get scratch(): DmaBuffer {
    this.scratchMemory ??= this.allocate(TRANSFER_BYTES);
    return this.scratchMemory;
  }

  private storedMemory(): DmaBuffer {
    this.stored ??= this.allocate(TRANSFER_BYTES);
    return this.stored;
  }
}

/** Blocks of a source range of Copy, and its first. */
function copyBlocks(ranges: DataView, range: number): number {
  return ranges.getUint16(range * COPY_RANGE_BYTES + 16, true) + 1;
}

function copyFirst(ranges: DataView, range: number): number {
  const at = range * COPY_RANGE_BYTES + 8;
  return ranges.getUint32(at + 4, true) * 2 ** 32 + ranges.getUint32(at, true);
}

function rangeBlocks(ranges: DataView, range: number): number {
  return ranges.getUint32(range * RANGE_BYTES + 4, true);
}

function rangeFirst(ranges: DataView, range: number): number {
  const at = range * RANGE_BYTES + 8;
  return ranges.getUint32(at + 4, true) * 2 ** 32 + ranges.getUint32(at, true);
}
