import { Bug } from '../abi/bug.js';
import { READ } from '../mm/address-space.js';
import { PageTable } from '../mm/page-table.js';
import {
  apertureEnd,
  defaultGeometry,
  type IommuProperties,
  PAGE_1G,
  PAGE_2M,
} from './geometry.js';
import type { Observer } from './observer.js';

export interface DomainOptions {
  readonly geometry?: IommuProperties;
  /**
   * Also uses superpages for frames that are given one by one (`mapFrames`) and happen to be
   * contiguous (R3.2).
   */
  readonly merges?: boolean;
  /** A guest owns a first stage above this page table (R8.1). */
  readonly nested?: boolean;
  /** `map` for writing alone also lets devices read. */
  readonly writableIsReadable?: boolean;
  readonly observer?: Observer | null;
}

const PAGES_2M = 512;
const PAGES_1G = 512 * 512;

/**
 * An I/O page table with the devices that translate through it (kernel: iommu_domain).
 *
 * `map` uses superpages where alignment, contiguity and the geometry allow; a superpage goes as a
 * whole, so `unmap` may remove more than asked (R3.2). `mapFrames` has single-page granularity
 * (R4.2). `unmap` and `map` leave nothing stale in an IOTLB.
 */
export class Domain {
  readonly geometry: IommuProperties;
  readonly nested: boolean;
  readonly devices: { flush(iovaPage: number, count: number): void }[] = [];
  observer: Observer | null;
  /**
   * The pages [removedFirst, removedEnd) that the last `unmap` covered: those asked for, and the
   * rest of each superpage that it hit.
   */
  removedFirst = 0;
  removedEnd = 0;

  private readonly table = new PageTable();
  private readonly merges: boolean;
  private readonly writableIsReadable: boolean;
  private readonly limit: number;
  /** First page number / size → present, for the sizes above 4 KiB. */
  private readonly large = new Set<number>();
  private readonly huge = new Set<number>();

  constructor(options: DomainOptions = {}) {
    this.geometry = options.geometry ?? defaultGeometry;
    this.merges = options.merges ?? false;
    this.writableIsReadable = options.writableIsReadable ?? false;
    this.nested = options.nested ?? false;
    this.observer = options.observer ?? null;
    this.limit = apertureEnd(this.geometry);
  }

  /** Pages present. */
  get pages(): number {
    return this.table.present;
  }

  /** Bytes of the engine's memory that the page table takes. */
  get bytes(): number {
    return this.table.bytes;
  }

  /**
   * Maps `count` pages to consecutive frames. A page that is present already is a Bug, as in the
   * kernel.
   */
  map(iovaPage: number, frame: number, count: number, permission: number): void {
    this.check(iovaPage, count, permission);
    const taken = this.table.nextPresent(iovaPage, iovaPage + count);
    if (taken !== iovaPage + count)
      throw new Bug('page is mapped already', { page: taken, iovaPage, count });
    const granted = this.writableIsReadable ? permission | READ : permission;
    this.table.setRun(iovaPage, frame, count, granted);
    this.noteSuperpages(iovaPage, frame, count);
    this.observer?.map(iovaPage, frame, count);
  }

  /**
   * Maps `count` pages to the given frames, one by one (R4.2); a page that is present gets its new
   * frame and permission.
   */
  mapFrames(iovaPage: number, frames: Float64Array, count: number, permission: number): void {
    this.check(iovaPage, count, permission);
    if (this.large.size !== 0 || this.huge.size !== 0) this.splitAround(iovaPage, count);
    this.table.setFrames(iovaPage, frames, count, permission);
    if (this.merges) this.noteMerges(iovaPage, frames, count);
    if (this.observer !== null) this.observeFrames(this.observer, iovaPage, frames, count);
  }

  /**
   * Removes [iovaPage, iovaPage + count), and the rest of every superpage that it touches, from the
   * page table and the IOTLBs of all devices. Returns how many pages it removed. Cannot fail and
   * allocates nothing.
   */
  unmap(iovaPage: number, count: number): number {
    const removed = this.unmapFast(iovaPage, count);
    this.flush(this.removedFirst, this.removedEnd - this.removedFirst);
    return removed;
  }

  /**
   * `unmap` without the flush: the caller flushes [removedFirst, removedEnd) before anyone relies
   * on it.
   */
  unmapFast(iovaPage: number, count: number): number {
    let first = iovaPage;
    let end = Math.min(iovaPage + count, this.limit);
    if (this.huge.size !== 0) {
      if (this.huge.has(Math.floor(first / PAGES_1G))) first -= first % PAGES_1G;
      if (this.huge.has(Math.floor((end - 1) / PAGES_1G))) end = roundUp(end, PAGES_1G);
      forget(this.huge, first, end, PAGES_1G);
    }
    if (this.large.size !== 0) {
      if (this.large.has(Math.floor(first / PAGES_2M))) first -= first % PAGES_2M;
      if (this.large.has(Math.floor((end - 1) / PAGES_2M))) end = roundUp(end, PAGES_2M);
      forget(this.large, first, end, PAGES_2M);
    }
    this.removedFirst = first;
    this.removedEnd = end;
    const removed = end > first ? this.table.clear(first, end - first) : 0;
    if (this.observer !== null) this.observer.unmap(iovaPage, count, removed);
    return removed;
  }

  /** Makes every device forget cached translations of [iovaPage, iovaPage + count). */
  flush(iovaPage: number, count: number): void {
    for (let i = 0; i < this.devices.length; i++) this.devices[i]!.flush(iovaPage, count);
  }

  /** The frame that an access to a page reaches, or -1. Hot; without the IOTLB. */
  translate(iovaPage: number, access: number): number {
    return this.table.lookup(iovaPage, access);
  }

  /** The frame at a page whatever its permission, or -1 (iommu_iova_to_phys). */
  frameAt(iovaPage: number): number {
    return this.table.lookup(iovaPage, 0);
  }

  /** READ and WRITE bits at a page; 0 where nothing is mapped. */
  permissionAt(iovaPage: number): number {
    return this.table.bits(iovaPage);
  }

  /** The first page at or after `iovaPage` and below `end` that is mapped, else `end`. */
  nextPresent(iovaPage: number, end: number): number {
    return this.table.nextPresent(iovaPage, end);
  }

  private check(iovaPage: number, count: number, permission: number): void {
    if (iovaPage < 0 || count <= 0 || iovaPage + count > this.limit || (permission & 3) === 0) {
      throw new Bug('mapping outside the domain', {
        iovaPage,
        count,
        permission,
        limit: this.limit,
      });
    }
  }

  private noteSuperpages(iovaPage: number, frame: number, count: number): void {
    let at = roundUp(iovaPage, PAGES_2M);
    const end = iovaPage + count;
    if (at + PAGES_2M > end || (frame + (at - iovaPage)) % PAGES_2M !== 0) return;
    const useHuge = (this.geometry.pageSizes & PAGE_1G) !== 0;
    const useLarge = (this.geometry.pageSizes & PAGE_2M) !== 0;
    while (at + PAGES_2M <= end) {
      const aligned = at % PAGES_1G === 0 && (frame + (at - iovaPage)) % PAGES_1G === 0;
      if (useHuge && aligned && at + PAGES_1G <= end) {
        this.huge.add(at / PAGES_1G);
        at += PAGES_1G;
      } else {
        if (useLarge) this.large.add(at / PAGES_2M);
        at += PAGES_2M;
      }
    }
  }

  /**
   * Marks the aligned 2 MiB blocks of a run with contiguous, aligned frames, as a merging IOMMU
   * would.
   */
  private noteMerges(iovaPage: number, frames: Float64Array, count: number): void {
    if ((this.geometry.pageSizes & PAGE_2M) === 0) return;
    for (let at = roundUp(iovaPage, PAGES_2M); at + PAGES_2M <= iovaPage + count; at += PAGES_2M) {
      const offset = at - iovaPage;
      const frame = frames[offset]!;
      let same = frame % PAGES_2M === 0;
      for (let i = 1; same && i < PAGES_2M; i++) same = frames[offset + i] === frame + i;
      if (same) this.large.add(at / PAGES_2M);
    }
  }

  /** A page that changes inside a superpage splits it into its small pages. */
  private splitAround(iovaPage: number, count: number): void {
    const end = iovaPage + count;
    for (let block = Math.floor(iovaPage / PAGES_1G); block * PAGES_1G < end; block++) {
      if (!this.huge.delete(block)) continue;
      for (let i = 0; i < 512; i++) this.large.add(block * 512 + i);
    }
    for (let block = Math.floor(iovaPage / PAGES_2M); block * PAGES_2M < end; block++)
      this.large.delete(block);
  }

  private observeFrames(
    observer: Observer,
    iovaPage: number,
    frames: Float64Array,
    count: number,
  ): void {
    for (let i = 0; i < count; i++) observer.map(iovaPage + i, frames[i]!, 1);
  }
}

function roundUp(page: number, unit: number): number {
  return Math.ceil(page / unit) * unit;
}

function forget(superpages: Set<number>, first: number, end: number, unit: number): void {
  const from = Math.floor(first / unit);
  const to = Math.ceil(end / unit);
  if (to - from > superpages.size) {
    for (const block of superpages) if (block >= from && block < to) superpages.delete(block);
    return;
  }
  for (let block = from; block < to; block++) superpages.delete(block);
}
