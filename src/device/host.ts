import type { AllocateDma, DmaBuffer, FrameMemory } from '../mm/frame-memory.js';
import type { BlockStore } from './block-store.js';
import type { RecordedModel } from './recorded/function.js';

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
  /**
   * Opens a file as a disk; it is made, or grown to `bytes`, where that is given, else the file's own size counts. Throws an
   * Error with a message for the user. Absent where a run has no files.
   */
  readonly openBlockFile?: (path: string, bytes: number | null) => BlockStore;
  /** Reads a recorded device from a file. Throws an Error with a message for the user. Absent where a run has no files. */
  readonly openModel?: (path: string) => RecordedModel;
}
