/** What a live process's address space is made with. */
import type { ProcessSpace } from './space.js';
import type { MappedDevice } from './vmas.js';

/**
 * Told what calls copy out of and into a process. Called on hot paths: keeps what it needs at once.
 */
export interface CopyWatcher {
  copiedFrom(address: number, bytes: Uint8Array): void;
  copiedTo(address: number, bytes: Uint8Array): void;
}

export interface ProcessSpaceOptions {
  /**
   * Devices by the `fileKey` of the files behind them: their pages are no ordinary memory.
   */
  readonly deviceFiles: ReadonlyMap<string, MappedDevice>;
  /**
   * Pinning a page that was never written takes the shared zero page, as kernels did before 6.2.
   */
  readonly sharesZeroPage: boolean;
  /** As `pinsDirtyFiles` of the kernel's table. */
  readonly pinsDirtyFiles?: boolean;
  /** `nextPinned` is asked: pins are counted by page. */
  readonly countsPins?: boolean;
  /** All spaces of the run. Absent: frames of others are never the same memory. */
  readonly spaces?: () => readonly ProcessSpace[];
  readonly copyWatcher?: CopyWatcher | null;
  /** As `AddressSpace.taskSize`. */
  readonly taskSize: number;
}
