/**
 * The device fault handler of a container: a page request becomes a page of a mapping, present in every domain (R2.1).
 *
 * Terms: the *window* is the page that faulted and those that are brought in beside it (R4.1). A *page-in* runs from asking the
 * address space for frames to mapping them; an invalidation in between makes it start again (R3.3).
 */
import { type Flow, STEP, type Wait } from '../../flow/flow.js';
import type { IommuDevice } from '../../iommu/device.js';
import type { Observer } from '../../iommu/observer.js';
import {
  type DeviceFaultHandler,
  type PageRequestGroup,
  PageResponse,
  type PageResponseCode,
  WAITS,
} from '../../iommu/page-request.js';
import { READ, WRITE } from '../../mm/address-space.js';
import type { Mapping } from '../type1/mapping.js';
import type { IopfBackend } from './backend.js';
import type { PremapPolicy } from './premap.js';
import type { ResidentPages } from './resident.js';

/** A page-in that waits; others that want the same page wait for it (R2.3). */
interface PageIn {
  readonly mapping: Mapping;
  readonly index: number;
  readonly wait: Wait;
  done: boolean;
}

export class FaultHandler implements DeviceFaultHandler {
  /** Only what faulted is granted, and a write marks its page dirty (R6.3). */
  dirtyTracking = false;
  /** Moves whenever what a page-in may grant changes: one that spans a move starts again. */
  generation = 0;
  private readonly frames: Float64Array;
  private readonly pageIns: PageIn[] = [];

  constructor(
    private readonly backend: IopfBackend,
    private readonly resident: ResidentPages,
    private readonly premap: PremapPolicy,
    private readonly observer: Observer | null,
  ) {
    this.frames = new Float64Array(premap.most);
  }

  /** The most pages of a window. */
  get premapPages(): number {
    return this.premap.most;
  }

  answer(device: IommuDevice, iovaPage: number, access: number): PageResponseCode | typeof WAITS {
    if (device.domain!.translate(iovaPage, access) >= 0) return PageResponse.SUCCESS;
    const mapping = this.mappingFor(iovaPage, access);
    if (mapping === null) return PageResponse.INVALID;
    const index = iovaPage - mapping.iovaPage;
    if (this.pageIns.length !== 0 && this.pageInOf(mapping, index) !== null) return WAITS;

    const mm = mapping.mm;
    const page = mapping.vaddrPage + index;
    let window = this.window(mapping, index, access);
    for (;;) {
      const seen = mm.invalidations;
      let granted = this.grant(mapping, access);
      let got = mm.pageIn(page, window, granted, this.frames);
      if (got === 0 && granted !== access) {
        // The mapping allows more than the memory does: what was asked may still be there.
        granted = access;
        got = mm.pageIn(page, 1, access, this.frames);
      }
      if (got < 0) return WAITS;
      if (got === 0) return PageResponse.INVALID;
      if (mm.invalidations === seen) {
        this.map(mapping, index, this.frames, got, granted, access);
        return PageResponse.SUCCESS;
      }
      // Bringing the window in took pages away, maybe its own. A single page settles.
      this.backend.counters.pageInsRetried++;
      window = 1;
    }
  }

  *handle(group: PageRequestGroup): Flow<PageResponseCode> {
    let code: PageResponseCode = PageResponse.SUCCESS;
    for (const request of group.requests) {
      const answer = yield* this.handleRequest(group.device, request.iovaPage, request.access);
      if (code === PageResponse.SUCCESS) code = answer;
    }
    return code;
  }

  pageLost(device: IommuDevice, iovaPage: number): void {
    const counters = this.backend.counters;
    this.observer?.pageLost?.(device, iovaPage);
    const mapping = this.backend.mappings.covering(iovaPage);
    if (mapping !== null && !mapping.pinned) {
      const removed = this.resident.drop(mapping, iovaPage - mapping.iovaPage, 1);
      counters.pagesInvalidated += removed;
      if (removed !== 0) counters.invalidations++;
    }
    device.iotlb.flush(iovaPage, 1);
  }

  /** One request of a group, with a place for other paths between any two of its steps. */
  private *handleRequest(device: IommuDevice, iovaPage: number, access: number): Flow<PageResponseCode> {
    for (;;) {
      yield STEP;
      if (device.domain!.translate(iovaPage, access) >= 0) return PageResponse.SUCCESS;
      const mapping = this.mappingFor(iovaPage, access);
      if (mapping === null) return PageResponse.INVALID;
      const index = iovaPage - mapping.iovaPage;
      const other = this.pageInOf(mapping, index);
      if (other !== null) {
        yield other.wait;
        continue;
      }
      const code = yield* this.pageIn(mapping, index, access);
      if (code !== null) return code;
      this.backend.counters.pageInsRetried++;
    }
  }

  /** Brings a window in; null: what it relied on changed meanwhile. */
  private *pageIn(mapping: Mapping, index: number, access: number): Flow<PageResponseCode | null> {
    const pageIn: PageIn = {
      mapping,
      index,
      done: false,
      wait: { what: `page-in of IOVA page ${mapping.iovaPage + index}`, ready: () => pageIn.done },
    };
    this.pageIns.push(pageIn);
    try {
      const { mm, vaddrPage } = mapping;
      const seen = mm.invalidations;
      const generation = this.generation;
      const window = this.window(mapping, index, access);
      const frames = new Float64Array(window);
      let granted = this.grant(mapping, access);
      let got = yield* framesOf(mapping, index, window, granted, frames);
      if (got === 0 && granted !== access) {
        granted = access;
        got = yield* framesOf(mapping, index, 1, access, frames);
      }
      yield STEP;
      const same =
        mm.invalidations === seen &&
        this.generation === generation &&
        mapping.mm === mm &&
        mapping.vaddrPage === vaddrPage &&
        this.mappingFor(mapping.iovaPage + index, access) === mapping;
      if (!same) return null;
      if (got === 0) return PageResponse.INVALID;
      this.map(mapping, index, frames, this.untilMapped(mapping, index, got), granted, access);
      return PageResponse.SUCCESS;
    } finally {
      pageIn.done = true;
      this.pageIns.splice(this.pageIns.indexOf(pageIn), 1);
    }
  }

  /** The mapping that may bring a page in for an access, or null. */
  private mappingFor(iovaPage: number, access: number): Mapping | null {
    const mapping = this.backend.mappings.covering(iovaPage);
    if (mapping === null || (mapping.permission & access) !== access) return null;
    // Pinned pages are present or not there at all (R7.2); an address that is not valid leads nowhere.
    return mapping.pinned || mapping.vaddrInvalid ? null : mapping;
  }

  /** What a page-in grants: all that the mapping allows, so that one fault per page is enough, or only what faulted (R6.3). */
  private grant(mapping: Mapping, access: number): number {
    if (!this.dirtyTracking) return mapping.permission;
    return (access & WRITE) === 0 ? access : access | (mapping.permission & READ);
  }

  /** Pages of the window: up to the first that is present and the mapping's end (R4.1). */
  private window(mapping: Mapping, index: number, access: number): number {
    // A page beside one that is written would be granted a write that nobody made.
    if (this.premap.most === 1 || (this.dirtyTracking && (access & WRITE) !== 0)) return 1;
    const wanted = this.premap.pagesAt(mapping.iovaPage + index);
    return this.untilMapped(mapping, index, Math.min(wanted, mapping.pages - index));
  }

  private untilMapped(mapping: Mapping, index: number, count: number): number {
    return count <= 1 ? count : mapping.mapped.nextSet(index + 1, index + count) - index;
  }

  private map(
    mapping: Mapping,
    index: number,
    frames: Float64Array,
    count: number,
    granted: number,
    access: number,
  ): void {
    this.resident.add(mapping, index, frames, count, granted);
    if (this.dirtyTracking && (access & WRITE) !== 0 && mapping.dirty !== null) mapping.dirty.set(index, 1);
    const counters = this.backend.counters;
    counters.pagesFaultedIn++;
    counters.pagesPremapped += count - 1;
  }

  private pageInOf(mapping: Mapping, index: number): PageIn | null {
    for (const pageIn of this.pageIns) {
      if (pageIn.mapping === mapping && pageIn.index === index) return pageIn;
    }
    return null;
  }
}

/** The frames of a window, waited for where they are not at hand. */
function* framesOf(
  mapping: Mapping,
  index: number,
  count: number,
  access: number,
  frames: Float64Array,
): Flow<number> {
  const page = mapping.vaddrPage + index;
  const got = mapping.mm.pageIn(page, count, access, frames);
  if (got >= 0) return got;
  return yield* mapping.mm.pageInFlow!(page, count, access, frames);
}
