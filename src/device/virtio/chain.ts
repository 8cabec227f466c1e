import type { AllocateDma, DmaBuffer } from '../../mm/frame-memory.js';
import type { DmaList } from '../dma-list.js';
import { DESCRIPTOR_BYTES, QUEUE_ENTRIES, type VirtQueue } from './queue.js';

/** Descriptor flags (2.7.5). */
const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

/** Words of a descriptor: address, length, flags with next above. */
const LENGTH = 2;
const FLAGS = 3;
const WORDS = DESCRIPTOR_BYTES / 4;

/**
 * Pieces that a chain with `bytes` bytes adds to a DMA list at most: a part may begin and end
 * within a page.
 */
export function chainPieces(bytes: number): number {
  return 2 * QUEUE_ENTRIES + Math.ceil(bytes / 4096) + 1;
}

/**
 * One buffer of a queue: a chain of descriptors, the parts to read before the parts to write. Used
 * again for each buffer. Indirect tables of a batch are fetched beforehand, by slot of the batch.
 */
export class Chain {
  /** Bytes of the device's reads and writes. */
  readable = 0;
  writable = 0;
  private count = 0;
  /** The first part to write. */
  private firstWritable = 0;
  private readonly page = new Float64Array(QUEUE_ENTRIES);
  private readonly offset = new Int32Array(QUEUE_ENTRIES);
  private readonly length = new Float64Array(QUEUE_ENTRIES);
  private readonly indirect: DmaBuffer;
  private readonly indirectWords: Uint32Array;

  /** `slots`: buffers of a batch. */
  constructor(allocate: AllocateDma, slots: number) {
    this.indirect = allocate(slots * QUEUE_ENTRIES * DESCRIPTOR_BYTES);
    const { bytes } = this.indirect;
    this.indirectWords = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  }

  /** Adds the fetch of the indirect table of the buffer at `head`, where it has one that can be. */
  appendIndirect(list: DmaList, queue: VirtQueue, head: number, slot: number): void {
    const { table, size } = queue;
    let at = head;
    for (let steps = 0; at < size && steps < size; steps++) {
      const word = at * WORDS;
      const flags = table[word + FLAGS]!;
      if ((flags & INDIRECT) !== 0) {
        const bytes = table[word + LENGTH]!;
        if (!tableAllowed(bytes, size)) return;
        const page = pageOf(table, word);
        const target = slot * QUEUE_ENTRIES * DESCRIPTOR_BYTES;
        list.appendRange(page, table[word]! & 0xfff, bytes, this.indirect, target, 0);
        return;
      }
      if ((flags & NEXT) === 0) return;
      at = flags >>> 16;
    }
  }

  /**
   * Reads the chain that begins at descriptor `head`. False: it is none: it leads out of its table
   * or in a circle, is longer than the queue, has parts in the wrong order, or an indirect table
   * where none may be.
   */
  load(queue: VirtQueue, head: number, slot: number): boolean {
    this.readable = 0;
    this.writable = 0;
    this.count = 0;
    this.firstWritable = 0;
    let table = queue.table;
    let base = 0;
    let entries = queue.size;
    let isIndirect = false;
    let at = head;
    for (;;) {
      if (at >= entries) return false;
      const word = base + at * WORDS;
      const flags = table[word + FLAGS]!;
      const length = table[word + LENGTH]!;
      if ((flags & INDIRECT) !== 0) {
        if (isIndirect || !queue.indirect || (flags & NEXT) !== 0) return false;
        if (!tableAllowed(length, queue.size)) return false;
        isIndirect = true;
        table = this.indirectWords;
        base = slot * QUEUE_ENTRIES * WORDS;
        entries = length / DESCRIPTOR_BYTES;
        at = 0;
        continue;
      }
      if (this.count === queue.size) return false;
      if (!this.add(table, word, length, (flags & WRITE) !== 0)) return false;
      if ((flags & NEXT) === 0) break;
      at = flags >>> 16;
    }
    if (this.writable === 0) this.firstWritable = this.count;
    return true;
  }

  /**
   * Adds DMA between `buffer` and `length` of the bytes to read, `skip` bytes from their start on.
   */
  appendReadable(
    list: DmaList,
    skip: number,
    length: number,
    buffer: DmaBuffer,
    offset: number,
  ): void {
    this.append(list, 0, skip, length, buffer, offset);
  }

  /** Adds DMA between `buffer` and the first `length` of the bytes to write. */
  appendWritable(list: DmaList, length: number, buffer: DmaBuffer, offset: number): void {
    this.append(list, this.firstWritable, 0, length, buffer, offset);
  }

  private add(table: Uint32Array, word: number, length: number, isWrite: boolean): boolean {
    const part = this.count++;
    this.page[part] = pageOf(table, word);
    this.offset[part] = table[word]! & 0xfff;
    this.length[part] = length;
    if (isWrite) {
      if (this.writable === 0) this.firstWritable = part;
      this.writable += length;
      return true;
    }
    this.readable += length;
    return this.writable === 0;
  }

  private append(
    list: DmaList,
    from: number,
    skip: number,
    length: number,
    buffer: DmaBuffer,
    offset: number,
  ): void {
    let left = length;
    let passed = skip;
    let target = offset;
    for (let part = from; left > 0; part++) {
      const bytes = this.length[part]!;
      if (passed >= bytes) {
        passed -= bytes;
        continue;
      }
      const take = Math.min(bytes - passed, left);
      list.appendRange(this.page[part]!, this.offset[part]! + passed, take, buffer, target, 0);
      passed = 0;
      target += take;
      left -= take;
    }
  }
}

/**
 * An indirect table holds whole descriptors, and no more than the queue has entries (2.7.5.3.1).
 * Of one that holds none there is nothing to fetch, and its first leads out of it.
 */
function tableAllowed(bytes: number, entries: number): boolean {
  return bytes % DESCRIPTOR_BYTES === 0 && bytes <= entries * DESCRIPTOR_BYTES;
}

function pageOf(table: Uint32Array, word: number): number {
  return table[word + 1]! * 2 ** 20 + (table[word]! >>> 12);
}
