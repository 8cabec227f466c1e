import type { Counters, Observer } from '../../iommu/observer.js';
import type { AddressSpace, MmuNotifier } from '../../mm/address-space.js';
import type { Mapping } from '../type1/mapping.js';
import { MappingAddressIndex } from '../type1/mapping-address-index.js';
import type { FaultHandler } from './fault-handler.js';
import type { ResidentPages } from './resident.js';

/**
 * A container's notifier on one address space, for as long as mappings use it (R5.7). When the host takes pages away, their
 * translations go first (R3.1); the cost grows with the mappings that overlap, not with those that exist (R3.5).
 */
export class WatchedSpace implements MmuNotifier {
  private readonly mappings = new MappingAddressIndex();
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

  invalidate(first: number, count: number): void {
    const removed = this.drop(first, count);
    if (removed === 0) return;
    this.counters.invalidations++;
    this.counters.pagesInvalidated += removed;
  }

  /** The space ends: nobody took anything away, so nothing is counted. */
  release(): void {
    this.drop(0, Number.MAX_SAFE_INTEGER);
  }

  /** Takes what lies in the range out of every domain; returns how many pages. */
  private drop(first: number, count: number): number {
    this.handler.invalidate(this.mm, first, count);
    let removed = 0;
    let overlaps = false;
    const mappings = this.mappings;
    for (
      let mapping = mappings.firstOverlap(first, count);
      mapping !== null;
      mapping = mappings.nextOverlap()
    ) {
      overlaps = true;
      if (mapping.mapped.count === 0) continue;
      const from = Math.max(first - mapping.vaddrPage, 0);
      const to = Math.min(first + count - mapping.vaddrPage, mapping.pages);
      removed += this.resident.drop(mapping, from, to - from);
    }
    if (overlaps) this.observer?.invalidate?.(this.mm.id, first, count, removed);
    return removed;
  }
}
