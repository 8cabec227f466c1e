/**
 * I/O address spaces (kernel: struct iommufd_ioas, struct io_pagetable): which IOVAs are mapped to
 * what, in bytes, over the engine's IoSpace, which has pages.
 */
import { fail } from '../abi/errno.js';
import { runDirect } from '../flow/direct.js';
import type { IoSpace } from '../ioas/io-space.js';
import { Mapping } from '../ioas/mapping.js';
import type { UserPages } from '../ioas/user-pages.js';
import { WRITE } from '../mm/address-space.js';
import { Area, AreaIndex } from './area.js';
import type { IommufdMachine } from './machine.js';
import type { IommufdObject } from './objects.js';
import { type IoPageTable, smallestEntry } from './page-table.js';
import {
  ADDRESS_END,
  type ByteRange,
  gapsBetween,
  overlap,
  PAGE,
  ReservedRanges,
} from './ranges.js';

/** IOVAs that are chosen are aligned to no more than what one large entry maps. */
const ALIGNMENT_MOST = 0x20_0000n;
/** IOVAs are chosen from here where no list says otherwise: never 0, and not the last page. */
const CHOSEN: ByteRange = { first: PAGE, end: ADDRESS_END - PAGE };

/** A piece of memory that is to be mapped: bytes of a source. */
export interface Piece {
  readonly source: UserPages;
  /** From the source's first page. */
  readonly start: bigint;
  readonly length: bigint;
}

/** What unmapping a range came to. */
export interface Unmapped {
  readonly bytes: bigint;
  /** An area lies across an edge of the range: it stays, and what lies behind it. */
  readonly cut: boolean;
}

/** Who uses the memory of an IOAS by the CPU (kernel: struct iommufd_access). */
export interface MemoryUser {
  /** Bytes that the edges of areas must be multiples of. */
  readonly alignment: bigint;
  /** The area at [first, end) goes: it unpins what it has there. */
  unmapping(first: bigint, end: bigint): void;
}

export class Ioas implements IommufdObject {
  id = 0;
  users = 0;
  readonly space: IoSpace;
  readonly areas = new AreaIndex();
  readonly reserved = new ReservedRanges();
  readonly tables: IoPageTable[] = [];
  private readonly memoryUsers: MemoryUser[] = [];
  /** Ranges from which IOVAs are chosen; none: all. */
  allowed: readonly ByteRange[] = [];
  /** Bytes that edges of areas are multiples of. */
  alignment = 1n;
  private large = true;

  constructor(readonly machine: IommufdMachine) {
    this.space = machine.engine.space({
      counters: machine.counters,
      observer: machine.observer,
      premapPages: machine.premapPages,
      premap: machine.premap?.() ?? null,
      driversMayPin: true,
      ioas: this,
    });
    if (machine.iopf === 'auto') runDirect(this.space.iopf.enable());
  }

  /** Page tables may have entries of more than a page (IOMMU_OPTION_HUGE_PAGES). */
  get hugePages(): boolean {
    return this.large;
  }

  /** EINVAL: page tables have entries already; EADDRINUSE: an area is not of whole pages. */
  setHugePages(large: boolean): void {
    if (large === this.large) return;
    if (!large && this.tables.length > 0 && this.areas.size > 0) fail('EINVAL');
    const was = this.large;
    this.large = large;
    try {
      this.setAlignment(this.neededAlignment);
    } catch (error) {
      this.large = was;
      throw error;
    }
  }

  /**
   * Maps pieces of memory one behind the other, all or none of them, and returns the IOVA. `fixed`
   * null: one is chosen for memory at the address `hint`. In this order: EINVAL: length, alignment;
   * ENOSPC: none is free; EOVERFLOW, EINVAL (reserved) and EEXIST for one that is fixed; EPERM:
   * memory that was mapped to be read; EFAULT, ENOMEM: pinning.
   */
  map(
    pieces: readonly Piece[],
    length: bigint,
    permission: number,
    fixed: bigint | null,
    hint: bigint,
  ): bigint {
    if (length === 0n || (length & (this.alignment - 1n)) !== 0n) fail('EINVAL');
    if (fixed !== null) this.checkFree(fixed, length);
    const iova = fixed ?? this.chooseIova(hint, length);
    let at = iova;
    const areas = pieces.map(({ source, start, length: bytes }) => {
      if ((permission & WRITE) !== 0 && (source.permission & WRITE) === 0) fail('EPERM');
      if ((start & (this.alignment - 1n)) !== 0n) fail('EINVAL');
      const area = new Area(at, bytes, permission, source, start);
      at = area.end;
      return area;
    });
    this.addAll(areas);
    return iova;
  }

  /**
   * Takes away areas that lie in a range of addresses, in order, up to one that it cuts. EBUSY: one
   * is held; EDEADLK: one is pinned, and its user does not let go.
   */
  unmap(first: bigint, end: bigint): Unmapped {
    let bytes = 0n;
    for (;;) {
      const area = this.areas.firstIn(first, end);
      if (area === null) return { bytes, cut: false };
      if (area.locks > 0) fail('EBUSY');
      if (area.iova < first || area.end > end) return { bytes, cut: true };
      if (area.accesses > 0) this.tellUsers(area);
      this.removeArea(area);
      bytes += area.length;
    }
  }

  /**
   * Makes two areas of one that lies across an address; what is pinned stays so. EINVAL: not
   * aligned, large entries may have been made, or an emulated device has pins in it.
   */
  cut(address: bigint): void {
    const area = this.areas.firstIn(address, address + 1n);
    if (area === null || area.iova === address) return;
    const length = address - area.iova;
    const start = area.start + length;
    if (((address | start) & (this.alignment - 1n)) !== 0n || area.accesses > 0) fail('EINVAL');
    if (this.large && this.tables.length > 0) fail('EINVAL');
    const { iova, permission, source, firstPage, pages } = area;
    const isPinned = this.tables.length > 0 && (area.mapping?.pinned ?? true);
    if (isPinned) source.pin(firstPage, pages);
    source.hold();
    this.removeArea(area);
    this.addArea(new Area(iova, length, permission, source, area.start));
    this.addArea(new Area(address, area.length - length, permission, source, start));
    if (isPinned) source.unpin(firstPage, pages);
    source.drop();
  }

  /**
   * What is mapped at [iova, iova + length), as pieces. EINVAL: nothing is asked for; EOVERFLOW;
   * ENOENT: a part is not mapped.
   */
  pieces(iova: bigint, length: bigint): Piece[] {
    if (length === 0n) fail('EINVAL');
    const end = iova + length;
    if (end > ADDRESS_END) fail('EOVERFLOW');
    const pieces: Piece[] = [];
    for (let at = iova; at < end; ) {
      const area = this.areas.firstFrom(at);
      if (area === null || area.iova > at) return fail('ENOENT');
      const stop = area.end < end ? area.end : end;
      const start = area.start + (at - area.iova);
      pieces.push({ source: area.source, start, length: stop - at });
      at = stop;
    }
    return pieces;
  }

  /**
   * The ranges from which IOVAs are chosen from now on; none: all. EADDRINUSE: one is reserved;
   * then nothing has changed.
   */
  allow(ranges: readonly ByteRange[]): void {
    if (ranges.some((range) => this.reserved.overlaps(range))) fail('EADDRINUSE');
    this.allowed = ranges;
  }

  /**
   * Keeps a range away from maps for as long as an owner wants. EADDRINUSE: something is mapped
   * there, or IOVAs are chosen from there.
   */
  reserve(range: ByteRange, owner: object): void {
    const isMapped = this.areas.firstIn(range.first, range.end) !== null;
    if (isMapped || this.allowed.some((each) => overlap(each, range))) fail('EADDRINUSE');
    this.reserved.add(range, owner);
  }

  /**
   * A page table gets what is pinned; the first one of a space that does not fault pins all.
   * EADDRINUSE: an area is not aligned to its entries, or lies where it reaches not; EFAULT,
   * ENOMEM. Then nothing has changed.
   */
  addPageTable(table: IoPageTable): void {
    const { alignment } = this;
    this.tables.push(table);
    try {
      this.setAlignment(this.neededAlignment);
      const { first, end } = table.aperture;
      if (first > 0n) this.reserve({ first: 0n, end: first }, table);
      if (end < ADDRESS_END) this.reserve({ first: end, end: ADDRESS_END }, table);
      table.enter(this);
    } catch (error) {
      this.tables.pop();
      this.reserved.removeOwner(table);
      this.alignment = alignment;
      throw error;
    }
  }

  /** No device is in it. */
  removePageTable(table: IoPageTable): void {
    table.leave(this);
    this.tables.splice(this.tables.indexOf(table), 1);
    this.reserved.removeOwner(table);
    this.setAlignment(this.neededAlignment);
  }

  /** EADDRINUSE: an area is not aligned as it needs. */
  addUser(user: MemoryUser): void {
    this.memoryUsers.push(user);
    try {
      this.setAlignment(this.neededAlignment);
    } catch (error) {
      this.memoryUsers.pop();
      throw error;
    }
  }

  removeUser(user: MemoryUser): void {
    this.memoryUsers.splice(this.memoryUsers.indexOf(user), 1);
    this.setAlignment(this.neededAlignment);
  }

  destroy(): void {
    this.unmap(0n, ADDRESS_END);
    runDirect(this.space.iopf.release());
  }

  private checkFree(iova: bigint, length: bigint): void {
    if ((iova & (this.alignment - 1n)) !== 0n) fail('EINVAL');
    const end = iova + length;
    if (end > ADDRESS_END) fail('EOVERFLOW');
    if (this.reserved.overlaps({ first: iova, end })) fail('EINVAL');
    if (this.areas.firstIn(iova, end) !== null) fail('EEXIST');
  }

  /**
   * The lowest free IOVA. It keeps the place of the memory in its page, and is aligned so that
   * large entries are possible: to the length rounded up to a power of two or the lowest bit of the
   * memory's address, whichever is less. EOVERFLOW: above half of all; EINVAL, ENOSPC.
   */
  private chooseIova(hint: bigint, length: bigint): bigint {
    if (length >= ADDRESS_END / 2n - 1n) fail('EOVERFLOW');
    const alignment = least(
      ALIGNMENT_MOST,
      1n << BigInt((length - 1n).toString(2).length - (length === 1n ? 1 : 0)),
      hint === 0n ? ADDRESS_END : hint & -hint,
    );
    if (alignment < this.alignment) fail('EINVAL');
    const placeIn = (gap: ByteRange): bigint | null => {
      const at = ((gap.first + alignment - 1n) & -alignment) | (hint & (PAGE - 1n));
      return at >= gap.end - 1n || gap.end - at < length ? null : at;
    };
    for (const span of this.allowedSpans())
      for (const gap of this.reserved.gaps(span)) {
        const found = this.findIn(gap, placeIn);
        if (found !== null) return found;
      }
    return fail('ENOSPC');
  }

  /** Of what is allowed, ranges that touch count as one. */
  private allowedSpans(): ByteRange[] {
    if (this.allowed.length === 0) return [CHOSEN];
    return gapsBetween(gapsBetween(this.allowed, CHOSEN), CHOSEN);
  }

  private findIn(range: ByteRange, placeIn: (gap: ByteRange) => bigint | null): bigint | null {
    let { first } = range;
    for (;;) {
      const area = this.areas.firstIn(first, range.end);
      const found = placeIn({ first, end: area === null ? range.end : area.iova });
      if (found !== null || area === null) return found;
      first = area.end;
      if (first >= range.end) return null;
    }
  }

  private addAll(areas: readonly Area[]): void {
    const added: Area[] = [];
    try {
      for (const area of areas) {
        this.addArea(area);
        added.push(area);
      }
    } catch (error) {
      for (const area of added) this.removeArea(area);
      throw error;
    }
  }

  private addArea(area: Area): void {
    if (area.permission === 0) this.checkNoAccess();
    else if (area.isOfPages) {
      const { iova, pages, permission, source, firstPage } = area;
      const mapping = new Mapping(
        Number(iova / PAGE),
        pages,
        permission,
        source,
        firstPage,
        source.isFile,
      );
      this.space.map(mapping);
      area.mapping = mapping;
    }
    const entered: IoPageTable[] = [];
    try {
      for (const table of this.tables) {
        table.map(area);
        entered.push(table);
      }
    } catch (error) {
      for (const table of entered) table.unmap(area);
      if (area.mapping !== null) this.space.unmap(area.mapping);
      throw error;
    }
    this.areas.insert(area);
    area.source.hold();
  }

  private removeArea(area: Area): void {
    for (const table of this.tables) table.unmap(area);
    if (area.mapping !== null) this.space.unmap(area.mapping);
    this.areas.remove(area);
    area.source.drop();
  }

  /** EINVAL: this kernel's page tables have no entries without a permission. */
  private checkNoAccess(): void {
    const { mapsNoAccess } = this.machine.kernel;
    if (!mapsNoAccess && this.tables.length > 0) fail('EINVAL');
  }

  /** EADDRINUSE: an area is not aligned so. */
  private setAlignment(alignment: bigint): void {
    if (alignment > this.alignment)
      for (const area of this.areas) if (!area.isAligned(alignment)) fail('EADDRINUSE');
    this.alignment = alignment;
  }

  private tellUsers(area: Area): void {
    for (const user of [...this.memoryUsers]) user.unmapping(area.iova, area.end);
    if (area.accesses > 0) fail('EDEADLK');
  }

  /** What page tables, users and the wish for none but small entries need of the edges of areas. */
  private get neededAlignment(): bigint {
    const needs = [
      this.large ? 1n : PAGE,
      ...this.tables.map(smallestEntry),
      ...this.memoryUsers.map(({ alignment }) => alignment),
    ];
    return needs.reduce((most, need) => (need > most ? need : most));
  }
}

function least(...values: bigint[]): bigint {
  return values.reduce((low, value) => (value < low ? value : low));
}
