import { PAGE_SIZE, READ } from '../../mm/address-space.js';
import type { DmaBuffer } from '../../mm/frame-memory.js';
import { DmaList } from '../dma-list.js';
import type { DmaPort } from '../dma-port.js';
import { Sqe } from './command.js';
import { ADDRESS_PAGES, SGL_DESCRIPTORS } from './limits.js';
import { Status } from './status.js';

/** A descriptor: address in words 0 and 1, length in word 2, its kind in the top byte of word 3. */
const WORDS = 4;
const DESCRIPTOR_BYTES = 16;
const LENGTH = 2;
const KIND = 3;
/** Kinds (type and subtype): only those whose address is an address, not an offset. */
const DATA_BLOCK = 0x00;
const BIT_BUCKET = 0x10;
const SEGMENT = 0x20;
const LAST_SEGMENT = 0x30;
/** Segments are aligned to 8 bytes. */
const SEGMENT_ALIGNMENT = 7;
const DISCARDED = -1;

/**
 * Where a command's data lies: a scatter gather list (NVM Express 1.4, 4.4). The command holds one
 * descriptor: of the data itself, or of a segment, an array of descriptors, whose last one may name
 * the next segment.
 *
 * As with PRP lists, first segments of up to a page are fetched for a batch of commands together.
 */
export class Sgl {
  /** Extents of the command resolved last: IOVA page, or DISCARDED; offset in it; bytes. */
  private readonly page = new Float64Array(SGL_DESCRIPTORS);
  private readonly offset = new Int32Array(SGL_DESCRIPTORS);
  private readonly length = new Float64Array(SGL_DESCRIPTORS);
  private count = 0;
  /** Bytes that the descriptors so far leave without a place. */
  private missing = 0;
  private isFromHost = false;
  private readonly words: Uint32Array;
  private readonly fetch = new DmaList(2);

  /** `segments`: PAGE_SIZE bytes for each command of a batch. */
  constructor(
    private readonly port: DmaPort,
    private readonly segments: DmaBuffer,
  ) {
    const { bytes } = segments;
    this.words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  }

  /** Adds the fetch of a command's first segment, if it has one, to `fetches`, with its slot. */
  prefetch(command: Uint32Array, at: number, slot: number, fetches: DmaList): void {
    if (!isPrefetched(command, at + Sqe.PRP1)) return;
    const first = at + Sqe.PRP1;
    const target = slot * PAGE_SIZE;
    fetches.appendRange(
      pageOf(command, first),
      command[first]! & 0xfff,
      command[first + LENGTH]!,
      this.segments,
      target,
      slot,
    );
  }

  /**
   * Finds the places of `length` bytes. `isFromHost`: the command reads them, so that bit buckets
   * count for nothing; else they take what the host does not want. Returns a status.
   */
  resolve(
    command: Uint32Array,
    at: number,
    length: number,
    slot: number,
    isFromHost: boolean,
  ): number {
    this.count = 0;
    this.missing = length;
    this.isFromHost = isFromHost;
    const first = at + Sqe.PRP1;
    const status = isPointer(command, first)
      ? this.follow(command, first, slot)
      : this.add(command, first);
    if (status !== Status.SUCCESS) return status;
    return this.missing === 0 ? Status.SUCCESS : Status.SGL_LENGTH_INVALID;
  }

  /** Walks the segments that begin at the pointer `pointer` of `command`. */
  private follow(command: Uint32Array, pointer: number, slot: number): number {
    const { words } = this;
    const start = (slot * PAGE_SIZE) / 4;
    let isFetched = isPrefetched(command, pointer);
    let page = pageOf(command, pointer);
    let offset = command[pointer]! & 0xfff;
    let bytes = command[pointer + LENGTH]!;
    let isLast = kindOf(command, pointer) === LAST_SEGMENT;
    for (let total = 0; ; ) {
      if (bytes === 0 || bytes % DESCRIPTOR_BYTES !== 0 || (offset & SEGMENT_ALIGNMENT) !== 0)
        return Status.INVALID_SGL_SEGMENT;
      total += bytes / DESCRIPTOR_BYTES;
      if (total > SGL_DESCRIPTORS) return Status.INVALID_SGL_COUNT;
      let next = -1;
      for (let done = 0; done < bytes; done += PAGE_SIZE) {
        const part = Math.min(PAGE_SIZE, bytes - done);
        if (!isFetched && !this.fetchPart(page, offset + done, part, slot))
          return Status.DATA_TRANSFER_ERROR;
        isFetched = false;
        for (let entry = start; entry < start + part / 4; entry += WORDS) {
          if (isPointer(words, entry)) {
            if (isLast) return Status.INVALID_SGL_SEGMENT;
            const isEnd = done + (entry - start) * 4 + DESCRIPTOR_BYTES === bytes;
            if (!isEnd) return Status.INVALID_SGL_COUNT;
            next = entry;
            break;
          }
          const status = this.add(words, entry);
          if (status !== Status.SUCCESS) return status;
        }
      }
      if (isLast) return Status.SUCCESS;
      if (next < 0) return Status.INVALID_SGL_SEGMENT;
      page = pageOf(words, next);
      offset = words[next]! & 0xfff;
      bytes = words[next + LENGTH]!;
      isLast = kindOf(words, next) === LAST_SEGMENT;
    }
  }

  private fetchPart(page: number, offset: number, bytes: number, slot: number): boolean {
    this.fetch.clear();
    this.fetch.appendRange(page, offset, bytes, this.segments, slot * PAGE_SIZE, 0);
    const { fetch, port } = this;
    for (let piece = 0; piece < fetch.count; piece++)
      if (port.ahead?.ask(fetch.page[piece]!, READ) === false) return false;
    return port.read(fetch, null);
  }

  /** Adds a descriptor of data. */
  private add(words: Uint32Array, entry: number): number {
    const kind = kindOf(words, entry);
    const bytes = words[entry + LENGTH]!;
    if (kind !== DATA_BLOCK && kind !== BIT_BUCKET) return Status.SGL_TYPE_INVALID;
    if (bytes === 0 || (kind === BIT_BUCKET && this.isFromHost)) return Status.SUCCESS;
    if (bytes > this.missing) return Status.SGL_LENGTH_INVALID;
    const page = pageOf(words, entry);
    const offset = words[entry]! & 0xfff;
    // Nothing lies behind the last address.
    if (kind === DATA_BLOCK && page + (offset + bytes) / PAGE_SIZE > ADDRESS_PAGES)
      return Status.DATA_TRANSFER_ERROR;
    const index = this.count++;
    this.page[index] = kind === DATA_BLOCK ? page : DISCARDED;
    this.offset[index] = offset;
    this.length[index] = bytes;
    this.missing -= bytes;
    return Status.SUCCESS;
  }

  /** Whose memory the resolved data lies in: DmaPort.sides of all of it. */
  get sides(): number {
    let sides = 0;
    for (let index = 0; index < this.count; index++) {
      const first = this.page[index]!;
      if (first === DISCARDED) continue;
      const pages = Math.ceil((this.offset[index]! + this.length[index]!) / PAGE_SIZE);
      sides |= this.port.own.sides(first, pages);
    }
    return sides;
  }

  /**
   * Adds [skip, skip + length) of the resolved data to a list, from or to `bufferOffset` of
   * `buffer`; nothing where it is discarded.
   */
  append(
    list: DmaList,
    skip: number,
    length: number,
    buffer: DmaBuffer,
    bufferOffset: number,
    tag: number,
  ): void {
    let passed = skip;
    let target = bufferOffset;
    let left = length;
    for (let index = 0; left > 0; index++) {
      const bytes = this.length[index]!;
      if (passed >= bytes) {
        passed -= bytes;
        continue;
      }
      const piece = Math.min(bytes - passed, left);
      const page = this.page[index]!;
      if (page !== DISCARDED)
        list.appendRange(page, this.offset[index]! + passed, piece, buffer, target, tag);
      passed = 0;
      target += piece;
      left -= piece;
    }
  }
}

function kindOf(words: Uint32Array, entry: number): number {
  return words[entry + KIND]! >>> 24;
}

function isPointer(words: Uint32Array, entry: number): boolean {
  const kind = kindOf(words, entry);
  return kind === SEGMENT || kind === LAST_SEGMENT;
}

/** Whether the segment that a descriptor names is one that `prefetch` takes. */
function isPrefetched(words: Uint32Array, entry: number): boolean {
  const bytes = words[entry + LENGTH]!;
  return (
    isPointer(words, entry) &&
    bytes !== 0 &&
    bytes <= PAGE_SIZE &&
    bytes % DESCRIPTOR_BYTES === 0 &&
    (words[entry]! & SEGMENT_ALIGNMENT) === 0
  );
}

function pageOf(words: Uint32Array, entry: number): number {
  return words[entry + 1]! * 2 ** 20 + (words[entry]! >>> 12);
}
