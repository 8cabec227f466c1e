/**
 * The device fault handler of an I/O address space: a page request becomes a page of a mapping,
 * present in every domain (R2.1).
 *
 * Terms: the *window* is the page that faulted and those that are brought in beside it (R4.1). A
 * *page-in* runs from asking the address space for frames to mapping them; an invalidation in
 * between makes it start again (R3.3).
 */
import { type Flow, freshStep, step, type Wait } from '../../flow/flow.js';
import { removeAt } from '../../flow/list.js';
import type { Domain } from '../../iommu/domain.js';
import type { Observer } from '../../iommu/observer.js';
import {
  type DeviceFaultHandler,
  type Fault,
  type FaultingDevice,
  type PageRequestGroup,
  PageResponse,
  type PageResponseCode,
  PRIVILEGED,
  WAITS,
} from '../../iommu/page-request.js';
import { type AddressSpace, READ, WRITE } from '../../mm/address-space.js';
import { noteWritten } from '../dirty-log.js';
import type { Mapping } from '../mapping.js';
import type { IopfBackend } from './backend.js';
import { AT_HAND, FramesAtHand, PageIn } from './page-in.js';
import type { PremapPolicy } from './premap.js';
import type { ResidentPages } from './resident.js';

const REPORTED = freshStep('page request reported');
const REPORTED_OF_GROUP = step('page request of a group reported');

export class FaultHandler implements DeviceFaultHandler {
  /** Moves whenever what a page-in may grant changes: one that spans a move starts again. */
  generation = 0;
  private readonly frames: Float64Array;
  /** Page-ins under way. */
  readonly pageIns: PageIn[] = [];

  constructor(
    private readonly backend: IopfBackend,
    private readonly resident: ResidentPages,
    private readonly premap: PremapPolicy,
    private readonly observer: Observer | null,
    private readonly PageInClass: typeof PageIn = PageIn,
  ) {
    this.frames = new Float64Array(premap.most);
  }

  /** Only what faulted is granted, and a write marks its page dirty (R6.3). */
  get dirtyTracking(): boolean {
    return this.backend.logs.length !== 0;
  }

  /** The most pages of a window. */
  get premapPages(): number {
    return this.premap.most;
  }

  answer(
    device: FaultingDevice,
    iovaPage: number,
    access: number,
  ): PageResponseCode | typeof WAITS {
    if (device.domain!.translate(iovaPage, access) >= 0) return PageResponse.SUCCESS;
    const mapping = this.mappingFor(iovaPage, access);
    if (mapping === null || !mayFault(device, iovaPage)) return PageResponse.INVALID;
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
        this.map(mapping, index, this.frames, got, granted, access, device.domain!);
        return PageResponse.SUCCESS;
      }
      // Bringing the window in took pages away, maybe its own. A single page settles.
      this.backend.counters.pageInsRetried++;
      window = 1;
    }
  }

  handle({ device, requests }: PageRequestGroup): Flow<PageResponseCode> {
    if (requests.length !== 1) return this.handleAll(device, requests);
    return this.handleRequest(device, requests[0]!, REPORTED);
  }

  pageLost(device: FaultingDevice, iovaPage: number): void {
    const counters = this.backend.counters;
    this.observer?.pageLost?.(device, iovaPage);
    const mapping = this.covering(iovaPage);
    if (mapping !== null && !mapping.pinned) {
      const removed = this.resident.drop(mapping, iovaPage - mapping.iovaPage, 1);
      counters.pagesInvalidated += removed;
      if (removed !== 0) counters.invalidations++;
    }
    device.iotlb.flush(iovaPage, 1);
  }

  /**
   * Page-ins that bring these pages in start again, and no others (as mmu_interval_read_retry,
   * R3.3).
   */
  invalidate(mm: AddressSpace, first: number, count: number): void {
    for (let i = 0; i < this.pageIns.length; i++) this.pageIns[i]!.invalidate(mm, first, count);
  }

  private *handleAll(device: FaultingDevice, requests: readonly Fault[]): Flow<PageResponseCode> {
    let code: PageResponseCode = PageResponse.SUCCESS;
    for (const request of requests) {
      const answer = yield* this.handleRequest(device, request, REPORTED_OF_GROUP);
      if (code === PageResponse.SUCCESS) code = answer;
    }
    return code;
  }

  /** One request of a group, with a place for other paths between any two of its steps. */
  private *handleRequest(
    device: FaultingDevice,
    request: Fault,
    reported: Wait,
  ): Flow<PageResponseCode> {
    const { iovaPage } = request;
    // PRIVILEGED says who asks: a DMA mapping allows it what it allows anybody.
    const access = request.access & ~PRIVILEGED;
    for (;;) {
      yield reported;
      if (device.domain!.translate(iovaPage, access) >= 0) return PageResponse.SUCCESS;
      const mapping = this.mappingFor(iovaPage, access);
      if (mapping === null || !mayFault(device, iovaPage)) return PageResponse.INVALID;
      const index = iovaPage - mapping.iovaPage;
      const other = this.pageInOf(mapping, index);
      if (other !== null) {
        yield other;
        continue;
      }
      const { domain } = device;
      const alone = reported === REPORTED;
      const code = yield* this.pageIn(mapping, index, access, domain!, alone);
      if (code !== null) return code;
      this.backend.counters.pageInsRetried++;
    }
  }

  /**
   * Brings a window in; null: what it relied on changed meanwhile. `alone`: its request is the only
   * one of its group.
   */
  private *pageIn(
    mapping: Mapping,
    index: number,
    access: number,
    domain: Domain,
    alone: boolean,
  ): Flow<PageResponseCode | null> {
    const pageIn = new this.PageInClass(this, mapping, index, access);
    this.pageIns.push(pageIn);
    try {
      const window = this.window(mapping, index, access);
      pageIn.window = window;
      const frames = new Float64Array(window);
      let granted = this.grant(mapping, access);
      const page = mapping.vaddrPage + index;
      let got = mapping.mm.pageIn(page, window, granted, frames);
      if (got < 0) got = yield* mapping.mm.pageInFlow!(page, window, granted, frames);
      if (got === 0 && granted !== access) {
        granted = access;
        got = mapping.mm.pageIn(page, 1, access, frames);
        if (got < 0) got = yield* mapping.mm.pageInFlow!(page, 1, access, frames);
      }
      pageIn.frames = frames;
      pageIn.got = got;
      pageIn.granted = granted;
      yield alone ? new FramesAtHand(pageIn) : AT_HAND;
      if (!pageIn.isValid) return null;
      if (got === 0) return PageResponse.INVALID;
      const count = this.untilMapped(mapping, index, got);
      this.map(mapping, index, frames, count, granted, access, domain);
      return PageResponse.SUCCESS;
    } finally {
      pageIn.done = true;
      removeAt(this.pageIns, this.pageIns.indexOf(pageIn));
    }
  }

  /** The mapping that may bring a page in for an access, or null. */
  mappingFor(iovaPage: number, access: number): Mapping | null {
    const mapping = this.covering(iovaPage);
    if (mapping === null || (mapping.permission & access) !== access) return null;
    // Pinned pages are present already, or never will be (R7.2); an invalid address leads nowhere.
    if (mapping.pinned || mapping.vaddrInvalid) return null;
    return mapping.driverPins?.pages.test(iovaPage - mapping.iovaPage) ? null : mapping;
  }

  /** The mapping that an IOVA page lies in, or null. */
  covering(iovaPage: number): Mapping | null {
    return this.backend.mappings.covering(iovaPage);
  }

  /**
   * What a page-in grants: all that the mapping allows, so that one fault per page is enough, or
   * only what faulted (R6.3).
   */
  private grant(mapping: Mapping, access: number): number {
    return this.dirtyTracking ? access | (mapping.permission & READ) : mapping.permission;
  }

  /** Pages of the window: up to the first that is present and the mapping's end (R4.1). */
  private window(mapping: Mapping, index: number, access: number): number {
    // A page beside one that is written would be granted a write that nobody made.
    if (this.premap.most === 1 || (this.dirtyTracking && (access & WRITE) !== 0)) return 1;
    const wanted = this.premap.pagesAt(mapping.iovaPage + index);
    return this.untilMapped(mapping, index, Math.min(wanted, mapping.pages - index));
  }

  private untilMapped(mapping: Mapping, index: number, count: number): number {
    // Without pre-mapping there is nothing to look for.
    return count <= 1 ? count : mapping.mapped.nextSet(index + 1, index + count) - index;
  }

  private map(
    mapping: Mapping,
    index: number,
    frames: Float64Array,
    count: number,
    granted: number,
    access: number,
    domain: Domain,
  ): void {
    const { logs } = this.backend;
    this.resident.add(mapping, index, frames, count, granted, domain);
    if (logs.length !== 0 && (access & WRITE) !== 0) noteWritten(logs, mapping, index, 1, domain);
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

/** R7.1: a device that can wait only on part of its accesses is refused elsewhere. */
function mayFault(device: FaultingDevice, iovaPage: number): boolean {
  return device.group === null || device.group.mayFault(iovaPage);
}
