import { DEFAULT_KERNEL, type KernelVersion, kernelProfile } from '../abi/kernel.js';
import { shippedEngine } from '../ioas/engine-parts.js';
import type { IopfMode } from '../ioas/iopf/mode.js';
import { PREMAP_DEFAULT, type PremapPolicy } from '../ioas/iopf/premap.js';
import { defaultGeometry, type IommuProperties } from '../iommu/geometry.js';
import { Counters, type Observer } from '../iommu/observer.js';
import type { TableMemory } from '../iommu/stage1.js';
import type { TestInterface } from '../iommufd/call.js';
import { UserLocks } from '../iommufd/locked-memory.js';
import type { IommufdMachine } from '../iommufd/machine.js';
import { createTestInterface } from '../iommufd/test/index.js';

/** What all containers, groups and devices of one machine share. */
export interface MachineState extends IommufdMachine {
  readonly geometry: IommuProperties;
  /** Mappings that a container may hold (module parameter dma_entry_limit). */
  dmaEntryLimit: number;
  /** Module parameter of vfio_iommu_type1: groups without interrupt remapping may be used. */
  allowUnsafeInterrupts: boolean;
  /** Whether the type1 module is there. */
  readonly type1Module: boolean;
  /** Null: there is none, as in the kernels of distributions. */
  readonly testInterface: TestInterface | null;
  /** /dev/vfio/vfio is an iommufd (CONFIG_IOMMUFD_VFIO_CONTAINER). */
  readonly compatContainer: boolean;
}

export interface StateOptions {
  readonly geometry?: IommuProperties;
  /** Whose answers (default 6.12). */
  readonly kernel?: KernelVersion;
  /** Default `auto`. */
  readonly iopf?: IopfMode;
  /** Pages brought in per fault, 1 to PREMAP_MOST; 1 (default) switches pre-mapping off. */
  readonly premapPages?: number;
  /** Decides how many instead, one for each container. */
  readonly premap?: () => PremapPolicy;
  /** Mappings per container: 1 to 2^32 - 1 (default 65,535, as the kernel's). */
  readonly dmaEntryLimit?: number;
  readonly allowUnsafeInterrupts?: boolean;
  /** False: the type1 module is not loaded. */
  readonly type1Module?: boolean;
  /** True: /dev/vfio/vfio is an iommufd. */
  readonly compatContainer?: boolean;
  /** True: /dev/iommu has the interface of iommufd's own tests. */
  readonly iommufdTest?: boolean;
  /** Reads the tables of first stages (R8.1); without it there are none. */
  readonly tables?: TableMemory;
  readonly counters?: Counters;
  readonly observer?: Observer | null;
}

export function createState(options: StateOptions): MachineState {
  const kernel = kernelProfile(options.kernel ?? DEFAULT_KERNEL);
  return {
    geometry: options.geometry ?? defaultGeometry,
    kernel,
    iopf: options.iopf ?? 'auto',
    premapPages: options.premapPages ?? PREMAP_DEFAULT,
    premap: options.premap ?? null,
    dmaEntryLimit: options.dmaEntryLimit ?? 65535,
    allowUnsafeInterrupts: options.allowUnsafeInterrupts ?? false,
    type1Module: options.type1Module ?? true,
    // Linux 6.1 has no iommufd.
    testInterface: options.iommufdTest === true ? createTestInterface() : null,
    compatContainer: options.compatContainer === true && kernel.iommufdLast > 0,
    tables: options.tables ?? null,
    counters: options.counters ?? new Counters(),
    observer: options.observer ?? null,
    engine: shippedEngine,
    userLocks: new UserLocks(),
  };
}
