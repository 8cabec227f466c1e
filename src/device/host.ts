import type { AllocateDma, DmaBuffer, FrameMemory } from '../mm/frame-memory.js';
import type { BlockStore } from './block-store.js';
import type { RecordedModel } from './recorded/function.js';

export interface BlockFileOptions {
  /** The file is made, or grown to this size in bytes; null: its own size counts. */
  readonly bytes: number | null;
  /** It is only read; others may read it at the same time. */
  readonly readOnly: boolean;
}

/** What a device gets from its surroundings. */
export interface DeviceHost {
  /** The memory that translated DMA reaches. */
  readonly frames: FrameMemory;
  readonly allocate: AllocateDma;
  /**
   * Zeroed memory of a mappable region of this function, shared with the program that maps it: offset 0 of the buffer is
   * offset 0 of the region. Asked for once per region, when the function is made.
   */
  regionMemory(index: number, bytes: number): DmaBuffer;
  /** Opens a file as a disk. Throws an Error with a message for the user. Absent where a run has no files. */
  readonly openBlockFile?: (path: string, options: BlockFileOptions) => BlockStore;
  /** Reads a recorded device from a file. Throws an Error with a message for the user. Absent where a run has no files. */
  readonly openModel?: (path: string) => RecordedModel;
}
