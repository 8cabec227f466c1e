import { type BlockStore, CHUNK_BYTES } from '../block-store.js';
import type { DmaList } from '../dma-list.js';
import type { DataPointer } from './data-pointer.js';
import { UncorrectableBlocks } from './uncorrectable.js';

/** The formats that a namespace can have, bytes of a block by the format's index (LBAF). */
export const FORMATS: readonly number[] = [512, 4096];

/** The one namespace (its id is 1): blocks over a store. */
export class Namespace {
  /** Index in FORMATS. */
  format = 0;
  blockBytes = 0;
  blocks = 0;
  readonly uncorrectable = new UncorrectableBlocks();

  /** `blockBytes`: one of FORMATS, at most the store's size. */
  constructor(
    readonly store: BlockStore,
    blockBytes: number,
  ) {
    this.take(FORMATS.indexOf(blockBytes));
  }

  /**
   * Gives it another format and makes all of it read as zeros; false: it could not be emptied, its
   * format stays, and part of it may be zeros.
   */
  reformat(format: number): boolean {
    if (!this.store.zero(0, this.store.bytes)) return false;
    this.take(format);
    return true;
  }

  private take(format: number): void {
    this.format = format;
    this.uncorrectable.clearAll();
    this.blockBytes = FORMATS[format]!;
    this.blocks = Math.floor(this.store.bytes / this.blockBytes);
  }

  /** Whether blocks [first, first + count) exist. */
  holds(first: number, count: number): boolean {
    return first + count <= this.blocks;
  }

  /** Adds the transfer of the resolved data from or to the bytes at `position`. */
  append(list: DmaList, data: DataPointer, position: number, length: number, tag: number): void {
    let done = 0;
    while (done < length) {
      const at = position + done;
      const chunk = Math.floor(at / CHUNK_BYTES);
      const inChunk = at - chunk * CHUNK_BYTES;
      const piece = Math.min(length - done, CHUNK_BYTES - inChunk);
      data.append(list, done, piece, this.store.chunk(chunk), inChunk, tag);
      done += piece;
    }
  }
}
