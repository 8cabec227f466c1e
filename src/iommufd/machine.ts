import type { KernelProfile } from '../abi/kernel.js';
import type { EngineParts } from '../ioas/engine-parts.js';
import type { IopfMode } from '../ioas/iopf/mode.js';
import type { PremapPolicy } from '../ioas/iopf/premap.js';
import type { Counters, Observer } from '../iommu/observer.js';
import type { TableMemory } from '../iommu/stage1.js';
import type { UserLocks } from './locked-memory.js';

/** What all contexts of one machine share. */
export interface IommufdMachine {
  readonly kernel: KernelProfile;
  readonly iopf: IopfMode;
  /** Pages brought in per fault, the faulting one included (R4.1). */
  readonly premapPages: number;
  /** Decides how many instead, one for each container and IOAS; null: `premapPages`. */
  readonly premap: (() => PremapPolicy) | null;
  readonly counters: Counters;
  readonly observer: Observer | null;
  /** Groups without interrupt remapping may be used. */
  readonly allowUnsafeInterrupts: boolean;
  /** Reads the tables of first stages (R8.1); null: there are none. */
  readonly tables: TableMemory | null;
  readonly engine: EngineParts;
  /** All processes of a run count as one user. */
  readonly userLocks: UserLocks;
}
