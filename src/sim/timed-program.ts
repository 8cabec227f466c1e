/**
 * A program with a device, in virtual time: what workloads drive. The engine underneath is the one
 * that ships; this adds the clock, what things cost, and who used which page.
 *
 * Terms: *work* is time that the run takes under any policy; *stall* is a device waiting for a
 * page; *overhead* is the program waiting (pinning, prefetching, losing pages); *idle* is
 * when neither wants anything. Times are microseconds, addresses page numbers.
 */

import { PREMAP_MOST } from '../ioas/iopf/premap.js';
import { Mapping } from '../ioas/mapping.js';
import { MappingIndex } from '../ioas/mapping-index.js';
import { UserPages } from '../ioas/user-pages.js';
import type { IommuDevice } from '../iommu/device.js';
import { Counters, type Observer } from '../iommu/observer.js';
import { READ, WRITE } from '../mm/address-space.js';
import { PageSet } from '../mm/page-set.js';
import type { AddressMap } from '../trace/address-map.js';
import { Timeline } from '../trace/timeline.js';
import { containerOn, type SimulatedContainer } from './container.js';
import { type Costs, faultUs } from './cost-model.js';
import {
  type HostMemory,
  type PageOwner,
  PINS_TOO_MUCH,
  SIMULATED_MOST_PAGES,
  TooLarge,
} from './host-memory.js';
import {
  ADDRESS_SPACE_FIRST,
  ADDRESS_SPACE_PAGES,
  RAM_ADDRESS,
  RAM_IOVA,
} from './memory-layout.js';
import type { Policy } from './policy.js';

/** How often an access is tried that finds its page gone again. */
const ATTEMPTS = 3;
const TOUCHED_AT_ONCE = 512;
const RW = READ | WRITE;

export class TimedProgram implements Observer, PageOwner {
  now = 0;
  /** How much of its workload is done, 0 to 1; the workload says so now and then. */
  share = 0;
  workUs = 0;
  stallUs = 0;
  idleUs = 0;
  /** What static pinning pays while the program runs. */
  pinningUs = 0;
  /** Time × pages in I/O page tables. */
  residentUs = 0;
  /** Pages that a device reached, each time that it did. */
  accesses = 0;
  refused = 0;
  neverUsed = 0;
  readonly counters = new Counters(() => this.now);
  readonly timeline = new Timeline();
  readonly container: SimulatedContainer;
  private begunAt = -1;
  private readonly device: IommuDevice;
  /** Pages in I/O page tables that no device has used yet, by IOVA. */
  private readonly fresh = new PageSet();
  private readonly swapped = new PageSet();
  private readonly mappings = new MappingIndex();
  private readonly frames = new Float64Array(TOUCHED_AT_ONCE);
  private readonly headroom: number;
  /** Pages come in that no device has asked for. */
  private readonly bringsUnused: boolean;
  private broughtIn = 0;
  private swappedIn = 0;
  /** The host takes away what a recording says that it took. */
  private reclaiming = false;
  /** A process ends: its pages go, and nobody takes them away. */
  private ending = false;
  /** What is mapped now is pinned, not faulted in. */
  private pinning = false;

  constructor(
    private readonly host: HostMemory,
    private readonly policy: Policy,
    private readonly costs: Costs,
    id = 1,
    /** Told what the engine does, too. */
    private readonly observer: Observer | null = null,
    /** Where memory was touched, where a report wants to show it. */
    readonly addresses: AddressMap | null = null,
  ) {
    this.container = containerOn(host, policy, this.counters, this, id);
    this.device = this.container.device;
    this.bringsUnused = policy.premap !== 1 || policy.prefetch;
    this.headroom = host.headroom(policy.premap === 'adaptive' ? PREMAP_MOST : policy.premap);
  }

  /**
   * Gives the guest its memory, all of it mapped for DMA; its page 0 is IOVA page `RAM_IOVA`.
   * Throws VfioError.
   */
  addMemory(pages: number): void {
    this.container.mm.mmap(RAM_ADDRESS, pages, { kind: 'anon', protection: RW });
    this.mapDma(RAM_IOVA, pages, RAM_ADDRESS, RW);
  }

  /** The program is set up: from here on time is counted. */
  begin(): void {
    this.begunAt = this.now;
  }

  /** Microseconds since `begin`. */
  get elapsedUs(): number {
    return this.now - Math.max(0, this.begunAt);
  }

  /** Time that the run would have taken with static pinning and enough memory, idle time apart. */
  get pinnedRunUs(): number {
    return this.workUs + this.pinningUs;
  }

  /** MAP_DMA. `pinned`: with VFIO_DMA_MAP_FLAG_PINNED. Throws VfioError, TooLarge. */
  mapDma(
    iovaPage: number,
    pages: number,
    vaddrPage: number,
    permission: number,
    pinned = false,
  ): void {
    if (this.host.countsPins) {
      this.host.countPinned(pages, this.counters);
    } else if (this.policy.pinned || pinned) {
      if (this.host.memory.pinned + pages > SIMULATED_MOST_PAGES) throw new TooLarge(PINS_TOO_MUCH);
      if (this.host.limited) this.host.makeRoom(pages);
    }
    this.pinning = true;
    try {
      this.container.map(iovaPage, pages, vaddrPage, permission, pinned && !this.policy.pinned);
    } finally {
      this.pinning = false;
    }
    const source = new UserPages(this.container.mm, vaddrPage, pages, permission, null);
    this.mappings.insert(new Mapping(iovaPage, pages, permission, source));
    this.addresses?.mappingAdded(this.elapsedUs, iovaPage, pages);
    if (this.begunAt < 0) return;
    this.pinningUs += pages * this.costs.pinPage;
    if (this.policy.pinned || pinned) this.advance(pages * this.costs.pinPage, false);
  }

  unmapDma(iovaPage: number, pages: number): void {
    this.container.unmap(iovaPage, pages);
    const end = iovaPage + pages;
    let at = this.mappings.firstFrom(iovaPage);
    for (; at !== null && at.iovaPage < end; at = this.mappings.firstFrom(iovaPage)) {
      this.mappings.remove(at);
      this.addresses?.mappingRemoved(this.elapsedUs, at.iovaPage, at.pages);
      if (this.host.countsPins) this.host.uncountPinned(at.pages, this.counters);
    }
  }

  /** The device reaches `count` pages from an IOVA page on, one after another. Hot. */
  access(iovaPage: number, count: number, access: number): void {
    const device = this.device;
    const iotlb = device.iotlb;
    const limited = this.host.limited;
    let misses = 0;
    for (let page = iovaPage; page < iovaPage + count; page++) {
      let frame = iotlb.lookup(page, access);
      if (frame < 0) {
        misses++;
        frame = device.translate(page, access);
        if (frame < 0) {
          frame = this.faultIn(page, access);
          if (frame < 0) continue;
        }
      }
      if (this.fresh.size !== 0) this.fresh.delete(page);
      if (limited) this.host.used(frame);
    }
    this.accesses += count;
    if (this.addresses !== null) this.addresses.touched(this.elapsedUs, iovaPage, count);
    if (misses !== 0) this.work(misses * this.costs.iotlbMiss);
  }

  /** The program touches pages of its own. Swapped pages come back at their cost. */
  touch(vaddrPage: number, count: number): void {
    const { mm } = this.container;
    for (let done = 0; done < count; done += TOUCHED_AT_ONCE) {
      const part = Math.min(TOUCHED_AT_ONCE, count - done);
      if (!this.host.limited) {
        mm.pageIn(vaddrPage + done, part, WRITE, this.frames);
        continue;
      }
      for (let page = vaddrPage + done; page < vaddrPage + done + part; page++) {
        const frame = mm.frameAt(page);
        if (frame > 0) {
          this.host.used(frame);
          continue;
        }
        this.host.makeRoom(1);
        if (mm.pageIn(page, 1, WRITE, this.frames) !== 1) continue;
        this.host.placed(this.frames[0]!, this, page);
        if (this.swapped.delete(page)) this.advance(this.costs.swapIn, false);
      }
    }
  }

  /**
   * Gives the program memory all over its address space, none of it mapped for DMA: for recordings,
   * which bring their mappings.
   */
  addAddressSpace(): void {
    this.container.mm.mmap(ADDRESS_SPACE_FIRST, ADDRESS_SPACE_PAGES, {
      kind: 'anon',
      protection: RW,
    });
  }

  /** The device asks for a page that the program cannot give it, or not for this access. */
  accessRefused(iovaPage: number, access: number): void {
    const mapping = this.mappings.covering(iovaPage);
    // A page that is mapped, if not for this access, stays so: taking it away would be an event
    // that was not there.
    const forbids = mapping !== null && !this.isMapped(iovaPage, 1);
    const page = forbids ? mapping.vaddrPage + iovaPage - mapping.iovaPage : -1;
    if (forbids) this.container.mm.mprotect(page, 1, 0);
    this.device.fault(iovaPage, access);
    if (forbids) this.container.mm.mprotect(page, 1, RW);
  }

  /** The device found a page gone without notice. */
  pageGone(iovaPage: number): void {
    if (!this.policy.pinned) this.device.pageLost(iovaPage);
  }

  /** Whether every page of a run has its translation. */
  isMapped(iovaPage: number, count: number): boolean {
    const domain = this.device.domain!;
    for (let page = iovaPage; page < iovaPage + count; page++)
      if (domain.frameAt(page) < 0) return false;
    return true;
  }

  /** `touch` of the guest's own memory, by guest page. */
  touchMemory(page: number, count: number): void {
    this.touch(RAM_ADDRESS + page, count);
  }

  /**
   * The program gives memory back (MADV_DONTNEED: a balloon, free page reporting), by guest page.
   */
  giveBack(page: number, count: number): void {
    this.takeAway(RAM_ADDRESS + page, count);
  }

  /** `reclaimed`: the host does it, and not the program; only observers are told which. */
  takeAway(vaddrPage: number, count: number, reclaimed = false): void {
    // A device keeps what is pinned, whatever becomes of the program's page.
    if (this.host.countsPins) return;
    this.swapped.deleteRange(vaddrPage, count);
    this.reclaiming = reclaimed;
    this.container.mm.dontNeed(vaddrPage, count);
    this.reclaiming = false;
  }

  /**
   * A process whose memory lies there ends, and others of the program go on: its pages go, and as
   * in a live run that is no invalidation.
   */
  endSpace(vaddrPage: number, count: number): void {
    const { counters } = this;
    const { invalidations, pagesInvalidated } = counters;
    this.ending = true;
    this.takeAway(vaddrPage, count);
    this.ending = false;
    counters.invalidations = invalidations;
    counters.pagesInvalidated = pagesInvalidated;
  }

  /** The program announces what the device is about to reach, where the policy does so. */
  advise(iovaPage: number, count: number, access: number): void {
    if (!this.policy.prefetch) return;
    const device = this.device;
    const handler = device.handlers.flat;
    if (handler === null) return;
    this.broughtIn = 0;
    this.swappedIn = 0;
    for (let page = iovaPage; page < iovaPage + count; page++) {
      if (device.domain!.translate(page, access) >= 0) continue;
      if (this.host.limited) this.host.makeRoom(this.headroom);
      handler.answer(device, page, access);
    }
    const { advise, extraPage, swapIn } = this.costs;
    this.advance(advise + this.broughtIn * extraPage + this.swappedIn * swapIn, false);
  }

  /** The device or the program is busy with something else. */
  work(us: number): void {
    this.workUs += us;
    this.advance(us, false);
  }

  /** Nobody wants anything until then. */
  idleUntil(time: number): void {
    const us = time - this.now;
    if (us <= 0) return;
    this.idleUs += us;
    this.advance(us, false);
  }

  /** The run is over: what no device ever used is counted. */
  end(): void {
    this.neverUsed += this.fresh.size;
  }

  holds(page: number, frame: number): boolean {
    return this.container.mm.frameAt(page) === frame;
  }

  pageOut(page: number): void {
    this.container.mm.pageOut(page, 1);
    if (this.container.mm.frameAt(page) < 0) this.swapped.add(page);
  }

  pageRequest(
    device: IommuDevice,
    page: number,
    access: number,
    pasid: number,
    group: number,
    last: boolean,
  ): void {
    this.observer?.pageRequest(device, page, access, pasid, group, last);
    this.addresses?.faulted(this.elapsedUs, page);
    this.broughtIn = 0;
    this.swappedIn = 0;
  }

  pageResponse(device: IommuDevice, pasid: number, group: number, code: number): void {
    const us = faultUs(this.costs, this.broughtIn, this.swappedIn);
    this.stallUs += us;
    this.timeline.fault(this.elapsedUs);
    this.advance(us, true);
    this.observer?.pageResponse(device, pasid, group, code);
  }

  map(iovaPage: number, frame: number, count: number): void {
    this.observer?.map(iovaPage, frame, count);
    if (this.pinning) return;
    this.addresses?.mapped(this.elapsedUs, iovaPage, count);
    this.broughtIn += count;
    if (this.bringsUnused)
      for (let page = iovaPage; page < iovaPage + count; page++) this.fresh.add(page);
    if (!this.host.limited) return;
    const mapping = this.mappings.covering(iovaPage)!;
    const vaddrPage = mapping.vaddrPage + iovaPage - mapping.iovaPage;
    for (let i = 0; i < count; i++) {
      this.host.placed(frame + i, this, vaddrPage + i);
      if (this.swapped.delete(vaddrPage + i)) this.swappedIn++;
    }
  }

  unmap(iovaPage: number, count: number, removed: number): void {
    this.observer?.unmap(iovaPage, count, removed);
    if (removed > 0 && !this.policy.pinned)
      this.addresses?.taken(this.elapsedUs, iovaPage, Math.min(count, removed));
    if (this.fresh.size !== 0) this.neverUsed += this.fresh.deleteRange(iovaPage, count);
  }

  invalidate(space: number, first: number, count: number, removed: number): void {
    if (this.ending) {
      this.observer?.spaceEnded?.(space);
      return;
    }
    this.observer?.invalidate?.(space, first, count, removed, this.reclaiming);
    if (removed === 0) return;
    this.timeline.invalidation(this.elapsedUs);
    if (this.reclaiming) this.timeline.reclaimed(this.elapsedUs, removed);
    this.advance(this.costs.invalidate, false);
  }

  private faultIn(page: number, access: number): number {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      if (this.host.limited) this.host.makeRoom(this.headroom);
      if (!this.device.fault(page, access)) break;
      const frame = this.device.translate(page, access);
      if (frame >= 0) return frame;
    }
    this.refused++;
    return -1;
  }

  private advance(us: number, stalled: boolean): void {
    const from = this.elapsedUs;
    this.now += us;
    if (this.begunAt < 0) return;
    this.residentUs += us * this.counters.residentPages;
    this.timeline.advance(from, us, this.counters, stalled);
  }
}
