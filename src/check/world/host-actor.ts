import type { Flow } from '../../flow/flow.js';
import type { IommuGroup } from '../../iommu/group.js';
import { accessName, checkAccess, groupOf, onContainer, onMemory, VADDR } from './operation.js';
import type { ProgramSpace } from './program-actor.js';

/** The host's memory management, which takes pages away with a window between telling and doing. */
export class Host {
  constructor(
    private readonly programs: readonly { readonly mm: ProgramSpace }[],
    private readonly groups: readonly IommuGroup[],
  ) {}

  /** Another frame behind a page, as migration and compaction do. */
  *migrate(page: number, count = 1): Flow<void> {
    yield onMemory('migrates', VADDR + page, count);
    yield* this.mm.migrateFlow(VADDR + page, count);
  }

  /** The program's memory is discarded (madvise MADV_DONTNEED). */
  *discard(page: number, count = 1): Flow<void> {
    yield onMemory('discards', VADDR + page, count);
    yield* this.mm.dontNeedFlow(VADDR + page, count);
  }

  /** munmap(2) by another thread of the program. */
  *munmap(page: number, count = 1): Flow<void> {
    yield onMemory('munmap', VADDR + page, count);
    yield* this.mm.munmapFlow(VADDR + page, count);
  }

  /** mprotect(2) by another thread of the program. */
  *protect(page: number, count: number, protection: number): Flow<void> {
    checkAccess('protect', protection);
    yield onMemory(
      'mprotect',
      VADDR + page,
      count,
      ` ${protection === 0 ? 'none' : accessName(protection)}`,
    );
    yield* this.mm.mprotectFlow(VADDR + page, count, protection);
  }

  /** Takes a page to swap. */
  *pageOut(page: number, count = 1): Flow<void> {
    yield onMemory('swaps out', VADDR + page, count);
    this.mm.pageOut(VADDR + page, count);
  }

  /** The program forks, and its child ends at once. */
  *fork(): Flow<void> {
    yield onMemory('forks');
    this.mm.fork(9).exit();
  }

  /** Devices of a group come in another order from now on, as after a rescan of the bus. */
  *rescan(group: number): Flow<void> {
    const found = groupOf(this.groups, group);
    yield onContainer(`rescans group ${group}`);
    found.devices.reverse();
  }

  private get mm(): ProgramSpace {
    return this.programs[0]!.mm;
  }
}
