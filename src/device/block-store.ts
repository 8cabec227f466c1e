import type { AllocateDma, DmaBuffer } from '../mm/frame-memory.js';

/** Bytes of one chunk of a store (the last may be shorter): what one native buffer can safely hold. */
export const CHUNK_BYTES = 2 ** 30;

/** The bytes of a disk, in chunks that DMA goes straight into and out of. */
export interface BlockStore {
  /** Size in bytes. */
  readonly bytes: number;
  /** Memory of the bytes [index * CHUNK_BYTES, …). */
  chunk(index: number): DmaBuffer;
  /** Makes [offset, offset + length) read as zeros; bytes, both below `bytes`. */
  zero(offset: number, length: number): void;
  /** Everything written is durable when this returns; false: it could not be made so. */
  flush(): boolean;
}

/** A disk in memory, all zeros. A chunk exists from its first use on, so that an untouched disk costs nothing. */
export function memoryStore(bytes: number, allocate: AllocateDma): BlockStore {
  const chunks: (DmaBuffer | null)[] = new Array(Math.ceil(bytes / CHUNK_BYTES)).fill(null);
  return {
    bytes,
    chunk(index) {
      const found = chunks[index];
      if (found) return found;
      const made = allocate(Math.min(CHUNK_BYTES, bytes - index * CHUNK_BYTES));
      chunks[index] = made;
      return made;
    },
    zero(offset, length) {
      for (let at = offset; at < offset + length; ) {
        const index = Math.floor(at / CHUNK_BYTES);
        const end = Math.min(offset + length, (index + 1) * CHUNK_BYTES);
        chunks[index]?.bytes.fill(0, at - index * CHUNK_BYTES, end - index * CHUNK_BYTES);
        at = end;
      }
    },
    flush: () => true,
  };
}
