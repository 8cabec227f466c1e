import { PAGE_SIZE, pagesUp } from '../mm/address-space.js';
import type { AllocateDma, DmaBuffer } from '../mm/frame-memory.js';

/**
 * Bytes of one chunk of a store (the last may be shorter): what one native buffer can safely hold.
 */
export const CHUNK_BYTES = 2 ** 30;

/** The bytes of a disk, in chunks that DMA goes straight into and out of. */
export interface BlockStore {
  /** Size in bytes. */
  readonly bytes: number;
  /** Nothing may be written: DMA into a chunk would fail. */
  readonly readOnly: boolean;
  /**
   * Memory of the bytes [index * CHUNK_BYTES, …). Only DMA may touch it: a file's bytes may be
   * gone.
   */
  chunk(index: number): DmaBuffer;
  /** Copies [offset, offset + length) to `intoOffset` (0) of `into`; false: it cannot be read. */
  read(offset: number, length: number, into: DmaBuffer, intoOffset?: number): boolean;
  /** Copies the start of `from` to [offset, offset + length); false: it cannot be written. */
  write(offset: number, length: number, from: DmaBuffer): boolean;
  /**
   * Makes [offset, offset + length) read as zeros; bytes, both below `bytes`. False: it could not
   * be made so.
   */
  zero(offset: number, length: number): boolean;
  /** Everything written is durable when this returns; false: it could not be made so. */
  flush(): boolean;
}

/**
 * Calls `visit` for the parts of [offset, offset + length) in each chunk, until it returns false;
 * returns what it returned.
 */
function eachChunk(
  offset: number,
  length: number,
  visit: (index: number, inChunk: number, length: number) => boolean,
): boolean {
  for (let at = offset; at < offset + length; ) {
    const index = Math.floor(at / CHUNK_BYTES);
    const end = Math.min(offset + length, (index + 1) * CHUNK_BYTES);
    if (!visit(index, at - index * CHUNK_BYTES, end - at)) return false;
    at = end;
  }
  return true;
}

/**
 * A disk in memory, all zeros. A chunk exists from its first use on, so that an untouched disk
 * costs nothing.
 */
export function memoryStore(bytes: number, allocate: AllocateDma, readOnly = false): BlockStore {
  const chunks: (DmaBuffer | null)[] = new Array(Math.ceil(bytes / CHUNK_BYTES)).fill(null);
  const chunk = (index: number): DmaBuffer => {
    const found = chunks[index];
    if (found) return found;
    const made = allocate(Math.min(CHUNK_BYTES, bytes - index * CHUNK_BYTES));
    chunks[index] = made;
    return made;
  };
  return {
    bytes,
    readOnly,
    chunk,
    read(offset, length, into, intoOffset = 0) {
      let done = intoOffset;
      return eachChunk(offset, length, (index, inChunk, piece) => {
        into.bytes.set(chunk(index).bytes.subarray(inChunk, inChunk + piece), done);
        done += piece;
        return true;
      });
    },
    write(offset, length, from) {
      let done = 0;
      return eachChunk(offset, length, (index, inChunk, piece) => {
        chunk(index).bytes.set(from.bytes.subarray(done, done + piece), inChunk);
        done += piece;
        return true;
      });
    },
    zero: (offset, length) =>
      eachChunk(offset, length, (index, inChunk, piece) => {
        const made = chunks[index];
        if (made) clear(made, inChunk, piece);
        return true;
      }),
    flush: () => true,
  };
}

/** Zeroes a part of a buffer; whole pages go back to the host where it takes them. */
function clear(buffer: DmaBuffer, offset: number, length: number): void {
  const { bytes } = buffer;
  const end = offset + length;
  const firstPage = pagesUp(offset);
  const lastPage = Math.floor(end / PAGE_SIZE) * PAGE_SIZE;
  if (!buffer.discard || firstPage >= lastPage) {
    bytes.fill(0, offset, end);
    return;
  }
  bytes.fill(0, offset, firstPage);
  buffer.discard(firstPage, lastPage - firstPage);
  bytes.fill(0, lastPage, end);
}
