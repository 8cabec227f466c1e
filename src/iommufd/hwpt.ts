/** Page tables of an IOAS (kernel: struct iommufd_hwpt_paging). */
import type { DirtyLog } from '../ioas/dirty-log.js';
import type { Domain } from '../iommu/domain.js';
import type { IommuProperties } from '../iommu/geometry.js';
import type { IommufdContext } from './context.js';
import type { FaultQueueObject } from './fault-queue-file.js';
import type { Ioas } from './ioas.js';
import type { IommufdObject } from './objects.js';

export class PagingHwpt implements IommufdObject {
  id = 0;
  users = 0;
  readonly domain: Domain;
  /** What its devices write; null: no log is kept. */
  log: DirtyLog | null = null;

  /**
   * A page table that is in its IOAS's place from now on: all that is mapped there is in it, or
   * found by faults. EADDRINUSE: something is mapped that it cannot have; EFAULT, ENOMEM: pinning.
   */
  constructor(
    private readonly context: IommufdContext,
    readonly ioas: Ioas,
    geometry: IommuProperties,
    /** ATTACH to an IOAS made it: it goes with its last device. */
    readonly isAuto: boolean,
    /** Whose program answers its devices' page requests; null: nobody's. */
    readonly fault: FaultQueueObject | null = null,
    /** Made with IOMMU_HWPT_ALLOC_DIRTY_TRACKING. */
    readonly tracksDirty = false,
  ) {
    const { kernel, observer, engine } = context.machine;
    this.domain = engine.domain({
      geometry,
      writableIsReadable: kernel.pinnedIsReadable,
      observer,
    });
    ioas.addPageTable(this.domain);
    ioas.users++;
    if (fault !== null) fault.users++;
  }

  /** A device, or whatever else had it in use, has gone. */
  drop(): void {
    this.users--;
    if (this.isAuto && this.users === 0) this.context.objects.remove(this);
  }

  destroy(): void {
    this.ioas.users--;
    if (this.log !== null) this.ioas.space.stopLog(this.log);
    if (this.fault !== null) this.fault.users--;
    this.ioas.removePageTable(this.domain);
  }
}
