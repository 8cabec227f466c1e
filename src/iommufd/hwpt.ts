/** Page tables that devices go through (kernel: struct iommufd_hw_pagetable). */
import { fail } from '../abi/errno.js';
import { HwptAllocFlag } from '../abi/iommufd.js';
import type { FaultQueue } from '../iommu/fault-queue.js';
import type { Ioas } from './ioas.js';
import type { Iommu, UserData } from './iommu.js';
import type { IommufdObject, ObjectTable } from './objects.js';
import type { IoPageTable } from './page-table.js';

/** A fault queue that programs read and answer. */
export interface ProgramQueue extends IommufdObject {
  readonly queue: FaultQueue;
}

export interface Hwpt extends IommufdObject {
  /** Whose maps its devices find. */
  readonly ioas: Ioas;
  /** Whose program answers its devices' page requests; null: nobody's. */
  readonly fault: ProgramQueue | null;
  /** Made with IOMMU_HWPT_ALLOC_PASID: a device may go through it and through others. */
  readonly takesPasids: boolean;
  readonly table: IoPageTable | NestedTable;
  /** A program answers from now on. */
  answerBy(fault: ProgramQueue): void;
  /** A device, or whatever else had it in use, has gone. */
  drop(): void;
}

/** What nested page tables are made above. */
export interface NestParent extends IommufdObject {
  /** EOPNOTSUPP: flags, no data; EINVAL: none can be; and what the IOMMU answers. */
  newNested(iommu: Iommu, flags: number, data: UserData | null): NestedHwpt;
}

/** A guest's part of a nested page table, as its IOMMU has it. */
export interface NestedTable {
  readonly isNested: true;
}

export class PagingHwpt implements Hwpt, NestParent {
  id = 0;
  users = 0;
  fault: ProgramQueue | null = null;

  /**
   * A page table that is in its IOAS's place from now on: all that is mapped there is in it, or
   * found by faults. EADDRINUSE: something is mapped that it cannot have; EFAULT, ENOMEM: pinning.
   */
  constructor(
    private readonly objects: ObjectTable,
    readonly ioas: Ioas,
    readonly table: IoPageTable,
    /** ATTACH to an IOAS made it: it goes with its last device. */
    readonly isAuto: boolean,
    /** Nested page tables can be made above it (IOMMU_HWPT_ALLOC_NEST_PARENT). */
    readonly nests = false,
    readonly takesPasids = false,
  ) {
    ioas.addPageTable(table);
    ioas.users++;
  }

  answerBy(fault: ProgramQueue): void {
    this.fault = fault;
    fault.users++;
  }

  newNested(iommu: Iommu, flags: number, data: UserData | null): NestedHwpt {
    if (data === null) return fail('EOPNOTSUPP');
    if (this.isAuto || !this.nests) fail('EINVAL');
    const table = iommu.newNested(this, flags, data);
    return new NestedHwpt(this, this, table, (flags & HwptAllocFlag.IOMMU_HWPT_ALLOC_PASID) !== 0);
  }

  drop(): void {
    this.users--;
    if (this.isAuto && this.users === 0) this.objects.remove(this);
  }

  destroy(): void {
    this.ioas.users--;
    if (this.fault !== null) this.fault.users--;
    this.ioas.removePageTable(this.table);
  }
}

/** A page table of a guest above one of an IOAS (kernel: struct iommufd_hwpt_nested). */
export class NestedHwpt implements Hwpt {
  id = 0;
  users = 0;
  fault: ProgramQueue | null = null;

  constructor(
    readonly parent: PagingHwpt,
    /** What it was made of, which it keeps: the parent, or a virtual IOMMU above it. */
    private readonly origin: IommufdObject,
    readonly table: NestedTable,
    readonly takesPasids = false,
  ) {
    origin.users++;
  }

  get ioas(): Ioas {
    return this.parent.ioas;
  }

  answerBy(fault: ProgramQueue): void {
    this.fault = fault;
    fault.users++;
  }

  drop(): void {
    this.users--;
  }

  destroy(): void {
    this.origin.users--;
    if (this.fault !== null) this.fault.users--;
  }
}

export function isHwpt(object: IommufdObject | null): object is Hwpt {
  return object instanceof PagingHwpt || object instanceof NestedHwpt;
}

export function isNestParent(object: IommufdObject | null): object is NestParent {
  return object !== null && 'newNested' in object;
}
