import type { KernelProfile } from '../abi/kernel.js';
import type { IopfMode } from '../ioas/iopf/mode.js';
import type { PremapPolicy } from '../ioas/iopf/premap.js';
import type { Counters, Observer } from '../iommu/observer.js';
import type { Operation } from './call.js';
import type { UserLocks } from './locked-memory.js';

/** The interface of iommufd's own tests (kernel: CONFIG_IOMMUFD_TEST). */
export interface TestInterface {
  /** The number that ends the table of calls. */
  readonly last: number;
  /** Calls in place of those of the table, and one of its own. */
  readonly operations: ReadonlyMap<number, Operation>;
}

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
  /** All processes of a run count as one user. */
  readonly userLocks: UserLocks;
  /** Null: there is none, as in the kernels of distributions. */
  readonly testInterface: TestInterface | null;
}
