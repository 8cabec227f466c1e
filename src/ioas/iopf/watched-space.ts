import type { Counters, Observer } from '../../iommu/observer.js';
import type { AddressSpace, MappedWalk, MmuNotifier } from '../../mm/address-space.js';
import type { Mapping } from '../mapping.js';
import { MappingAddressIndex } from '../mapping-address-index.js';
import type { FaultHandler } from './fault-handler.js';
import type { ResidentPages } from './resident.js';

/** Mappings without a mapped page that a walk steps over at a time. */
const STEP_MAPPINGS = 256;

/**
 * An I/O address space's notifier on the memory of one process, for as long as mappings use it
 * (R5.7). When the host takes pages away, their translations go first (R3.1); the cost grows with
 * the mappings that overlap, not with those that exist (R3.5).
 */
export class WatchedSpace implements MmuNotifier {
  private readonly mappings = new MappingAddressIndex();
  private walked: Mapping | null = null;
  private readonly unsubscribe: () => void;

  constructor(
    private readonly mm: AddressSpace,
    private readonly resident: ResidentPages,
    private readonly handler: FaultHandler,
    private readonly counters: Counters,
    private readonly observer: Observer | null,
  ) {
    this.unsubscribe = mm.subscribe(this);
  }

  get unused(): boolean {
    return this.mappings.size === 0;
  }

  add(mapping: Mapping): void {
    this.mappings.insert(mapping);
  }

  remove(mapping: Mapping): void {
    this.mappings.remove(mapping);
  }

  close(): void {
    this.unsubscribe();
  }

  invalidate(first: number, count: number, reclaimed = false): void {
    const removed = this.drop(first, count);
    // What the program takes away is observed even if no page was mapped here: in a replay of the
    // run some may be. Reclaim takes only what is present.
    if (reclaimed ? removed > 0 : removed >= 0)
      this.observer?.invalidate?.(this.mm.id, first, count, removed, reclaimed);
    if (removed <= 0) return;
    this.counters.invalidations++;
    this.counters.pagesInvalidated += removed;
    if (reclaimed) this.counters.pagesReclaimed += removed;
  }

  /** The space ends: nobody took anything away, so nothing is counted. */
  release(): void {
    this.drop(0, Number.MAX_SAFE_INTEGER);
    this.observer?.spaceEnded?.(this.mm.id);
  }

  nextMapped(walk: MappedWalk, most: number): boolean {
    const mappings = this.resident.mappings;
    walk.count = 0;
    // The mapping of the last run, most often; one that has gone since has no mapped page.
    let mapping = this.walked;
    if (mapping === null || walk.position < mapping.iovaPage || walk.position >= mapping.iovaEnd)
      mapping = mappings.firstFrom(walk.position);
    for (let steps = 0; mapping !== null; mapping = mappings.after(mapping)) {
      const { mapped, pages, iovaPage } = mapping;
      if (mapping.mm === this.mm && mapped.count !== 0) {
        const at = mapped.nextSet(Math.max(0, walk.position - iovaPage), pages);
        if (at < pages) {
          const stop = mapped.nextClear(at, Math.min(pages, at + most));
          walk.first = mapping.vaddrPage + at;
          walk.count = stop - at;
          walk.position = iovaPage + stop;
          this.walked = mapping;
          return true;
        }
      }
      walk.position = iovaPage + pages;
      if (++steps === STEP_MAPPINGS) return true;
    }
    walk.position = 0;
    this.walked = null;
    return false;
  }

  /**
   * Takes what lies in the range out of every domain; returns how many pages, -1 where no mapping
   * overlaps.
   */
  private drop(first: number, count: number): number {
    this.handler.invalidate(this.mm, first, count);
    let removed = -1;
    const mappings = this.mappings;
    for (
      let mapping = mappings.firstOverlap(first, count);
      mapping !== null;
      mapping = mappings.nextOverlap()
    ) {
      if (removed < 0) removed = 0;
      if (mapping.mapped.count === 0) continue;
      const from = Math.max(first - mapping.vaddrPage, 0);
      const to = Math.min(first + count - mapping.vaddrPage, mapping.pages);
      removed += this.resident.drop(mapping, from, to - from);
    }
    return removed;
  }
}
