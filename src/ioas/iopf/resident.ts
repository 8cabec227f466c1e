import { Bug } from '../../abi/bug.js';
import type { Domain } from '../../iommu/domain.js';
import { READ } from '../../mm/address-space.js';
import type { Mapping } from '../mapping.js';
import type { MappingIndex } from '../mapping-index.js';
import type { IopfBackend } from './backend.js';

/**
 * The pages of a space that are present because a device asked: what the bitmaps of its mappings
 * say and what its domains hold, changed together.
 */
export class ResidentPages {
  constructor(readonly backend: IopfBackend) {}

  get mappings(): MappingIndex {
    return this.backend.mappings;
  }

  /**
   * Maps `count` pages from `index` of a mapping on in every domain (R2.1). Where a domain has a
   * dirty log of its own, only the one of the device that faulted may be written through.
   */
  add(
    mapping: Mapping,
    index: number,
    frames: Float64Array,
    count: number,
    permission: number,
    faulting: Domain,
  ): void {
    const { domains, logs } = this.backend;
    const first = mapping.iovaPage + index;
    const apart = logs.length !== 0 && logs.some((log) => log.domain !== null);
    for (let i = 0; i < domains.length; i++) {
      const domain = domains[i]!;
      if (!apart || domain === faulting) domain.mapFrames(first, frames, count, permission);
      else mapReadable(domain, first, frames, count, permission & READ);
    }
    this.backend.counters.addResident(mapping.mapped.set(index, count));
  }

  /**
   * Removes what is present of [index, index + count) of a mapping from every domain and IOTLB, and
   * the rest of every superpage hit. Pages that a driver has pinned stay: their frames do, too
   * (R6.2). Returns how many pages went. Cannot fail and allocates nothing (R3.3, R3.4).
   */
  drop(mapping: Mapping, index: number, count: number): number {
    const end = index + count;
    if (mapping.driverPins === null) return this.dropRuns(mapping, index, end);
    const { pages } = mapping.driverPins;
    let removed = 0;
    for (let at = pages.nextClear(index, end); at < end; ) {
      const stop = pages.nextSet(at, end);
      removed += this.dropRuns(mapping, at, stop);
      at = pages.nextClear(stop, end);
    }
    return removed;
  }

  private dropRuns(mapping: Mapping, index: number, end: number): number {
    const mapped = mapping.mapped;
    let removed = 0;
    for (let at = mapped.nextSet(index, end); at < end; ) {
      const stop = mapped.nextClear(at, end);
      removed += this.dropRun(mapping, at, stop);
      at = mapped.nextSet(stop, end);
    }
    return removed;
  }

  dropAll(mapping: Mapping): number {
    return this.drop(mapping, 0, mapping.pages);
  }

  /** Whether every domain has a page of a mapping at this frame; without a domain none has. */
  isMappedTo(mapping: Mapping, index: number, frame: number): boolean {
    const { domains } = this.backend;
    for (const domain of domains)
      if (domain.frameAt(mapping.iovaPage + index) !== frame) return false;
    return domains.length !== 0;
  }

  /** A domain went: what no other domain holds is not present any more. */
  forgetAbsent(mapping: Mapping): void {
    const mapped = mapping.mapped;
    for (let at = mapped.nextSet(0, mapping.pages); at < mapping.pages; ) {
      if (!this.isPresent(mapping.iovaPage + at))
        this.backend.counters.addResident(-mapped.clear(at, 1));
      at = mapped.nextSet(at + 1, mapping.pages);
    }
  }

  private isPresent(iovaPage: number): boolean {
    for (const domain of this.backend.domains) if (domain.frameAt(iovaPage) >= 0) return true;
    return false;
  }

  private dropRun(mapping: Mapping, index: number, end: number): number {
    const domains = this.backend.domains;
    let first = mapping.iovaPage + index;
    let stop = mapping.iovaPage + end;
    // A domain may remove more than asked (R3.2). What one removes, all remove, so that one bitmap
    // tells for all of them.
    for (let grown = true; grown; ) {
      grown = false;
      const askedFirst = first;
      const asked = stop - first;
      for (let i = 0; i < domains.length; i++) {
        const domain = domains[i]!;
        domain.unmapFast(askedFirst, asked);
        if (domain.removedFirst < first) first = domain.removedFirst;
        if (domain.removedEnd > stop) stop = domain.removedEnd;
      }
      grown = domains.length > 1 && stop - first !== asked;
    }
    for (let i = 0; i < domains.length; i++) domains[i]!.flush(first, stop - first);
    return this.clearBits(mapping, first, stop);
  }

  private clearBits(mapping: Mapping, first: number, stop: number): number {
    let removed = 0;
    if (first >= mapping.iovaPage && stop <= mapping.iovaEnd) {
      removed = mapping.mapped.clear(first - mapping.iovaPage, stop - first);
    } else {
      const mappings = this.backend.mappings;
      for (
        let at = mappings.firstFrom(first);
        at !== null && at.iovaPage < stop;
        at = mappings.after(at)
      ) {
        if (at.pinned)
          throw new Bug('a superpage reached into a pinned mapping', {
            first,
            stop,
            iovaPage: at.iovaPage,
          });
        const from = Math.max(first, at.iovaPage);
        removed += at.mapped.clear(from - at.iovaPage, Math.min(stop, at.iovaEnd) - from);
      }
    }
    this.backend.counters.addResident(-removed);
    return removed;
  }
}

/** Pages that a domain has stay as they are: it may have seen a write already. */
function mapReadable(
  domain: Domain,
  first: number,
  frames: Float64Array,
  count: number,
  permission: number,
): void {
  if (permission === 0) return;
  for (let i = 0; i < count; i++)
    if (domain.frameAt(first + i) < 0)
      domain.mapFrames(first + i, frames.subarray(i), 1, permission);
}
