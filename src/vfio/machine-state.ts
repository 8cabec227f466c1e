import type { KernelProfile } from '../abi/kernel.js';
import type { PremapPolicy } from '../ioas/iopf/premap.js';
import type { IommuProperties } from '../iommu/geometry.js';
import type { Counters, Observer } from '../iommu/observer.js';
import type { TableMemory } from '../iommu/stage1.js';

/**
 * When a container is switched to IOPF: at VFIO_SET_IOMMU and each attach, only when the program
 * asks, or never (docs/iopf-abi.md).
 */
export type IopfMode = 'auto' | 'ask' | 'off';

/** What all containers, groups and devices of one machine share. */
export interface MachineState {
  readonly geometry: IommuProperties;
  readonly kernel: KernelProfile;
  readonly iopf: IopfMode;
  /** Pages brought in per fault, the faulting one included; 1 switches pre-mapping off (R4.1). */
  readonly premapPages: number;
  /** Decides how many instead, one for each container; null: `premapPages`. */
  readonly premap: (() => PremapPolicy) | null;
  /** Mappings that a container may hold (module parameter dma_entry_limit). */
  dmaEntryLimit: number;
  /** Module parameter of vfio_iommu_type1: groups without interrupt remapping may be used. */
  allowUnsafeInterrupts: boolean;
  /** Whether the type1 module is there. */
  readonly type1Module: boolean;
  /** Reads the tables of first stages (R8.1); null: there are none. */
  readonly tables: TableMemory | null;
  readonly counters: Counters;
  readonly observer: Observer | null;
}
