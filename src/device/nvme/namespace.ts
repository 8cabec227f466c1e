import { type BlockStore, CHUNK_BYTES } from '../block-store.js';
import type { DmaList } from '../dma-list.js';
import type { Prp } from './prp.js';

/** The one namespace (its id is 1): blocks over a store. */
export class Namespace {
  readonly blocks: number;

  /** `blockBytes`: 512 or 4096; the store's size is a multiple of it. */
  constructor(
    readonly store: BlockStore,
    readonly blockBytes: number,
  ) {
    this.blocks = Math.floor(store.bytes / blockBytes);
  }

  /** Whether blocks [first, first + count) exist. */
  holds(first: number, count: number): boolean {
    return first + count <= this.blocks;
  }

  /** Adds the transfer of the resolved PRPs from or to the bytes at `position`. */
  append(list: DmaList, prp: Prp, position: number, length: number, tag: number): void {
    let done = 0;
    while (done < length) {
      const at = position + done;
      const chunk = Math.floor(at / CHUNK_BYTES);
      const inChunk = at - chunk * CHUNK_BYTES;
      const piece = Math.min(length - done, CHUNK_BYTES - inChunk);
      prp.append(list, done, piece, this.store.chunk(chunk), inChunk, tag);
      done += piece;
    }
  }
}
