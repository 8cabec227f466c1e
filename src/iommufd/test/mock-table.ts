import { MOCK_APERTURE, MOCK_HUGE_PAGE_SIZE, MOCK_PAGE_SIZE } from '../../abi/iommufd-test.js';
import type { PinnedRun } from '../../ioas/pinned-runs.js';
import type { Area } from '../area.js';
import type { Ioas } from '../ioas.js';
import type { IoPageTable } from '../page-table.js';
import { ADDRESS_END, type ByteRange, PAGE } from '../ranges.js';

const UNIT = BigInt(MOCK_PAGE_SIZE);
const HUGE = BigInt(MOCK_HUGE_PAGE_SIZE);
const HUGE_UNITS = MOCK_HUGE_PAGE_SIZE / MOCK_PAGE_SIZE;
/** Every power of two from 2 KiB to 64 GiB, as AMD's page tables have entries of. */
const ALL_SIZES = (1n << 37n) - UNIT;

/** A byte of a frame. */
export interface Physical {
  readonly frame: number;
  readonly offset: number;
}

/** What an area has in the table. */
interface Entries {
  readonly runs: readonly PinnedRun[];
  /** Numbers of its units that were written, from its beginning. */
  readonly dirty: Set<number>;
}

/**
 * A page table of the mock IOMMU: what is mapped is pinned, in units of 2 KiB, and no device goes
 * through it.
 */
export class MockTable implements IoPageTable {
  readonly isCoherent = false;
  readonly pageSizes: bigint;
  readonly aperture: ByteRange;
  isLogging = false;
  private readonly entries = new Map<Area, Entries>();
  private ioas: Ioas | null = null;

  constructor(
    /** As `genericMockTables` of the kernel's table: whole pages have entries of their own. */
    private readonly isGeneric: boolean,
    readonly tracksDirty: boolean,
    /** It may be anywhere, and its edges are pages (MOCK_IOMMUPT_HUGE). */
    private readonly huge = false,
  ) {
    const small = isGeneric ? ALL_SIZES : UNIT;
    this.pageSizes = huge ? HUGE | PAGE : small;
    this.aperture = huge ? { first: 0n, end: ADDRESS_END } : MOCK_APERTURE;
  }

  enter(ioas: Ioas): void {
    this.ioas = ioas;
    try {
      for (const area of ioas.areas) this.map(area);
    } catch (error) {
      this.leave();
      throw error;
    }
  }

  leave(): void {
    for (const area of [...this.entries.keys()]) this.unmap(area);
    this.ioas = null;
  }

  map(area: Area): void {
    const { source, firstPage, pages } = area;
    this.ioas!.machine.counters.addPinned(source.pin(firstPage, pages));
    const runs = [...source.pinnedRuns(firstPage, pages)].map((run) => ({ ...run }));
    this.entries.set(area, { runs, dirty: new Set() });
  }

  unmap(area: Area): void {
    if (!this.entries.delete(area)) return;
    this.ioas!.machine.counters.addPinned(-area.source.unpin(area.firstPage, area.pages));
  }

  /** Where an address leads (iommu_iova_to_phys), or null: nowhere. */
  physicalAt(iova: bigint): Physical | null {
    const area = this.areaAt(iova);
    if (area === null) return null;
    const byte = area.start + (iova - area.iova);
    const page = Number(byte / PAGE);
    for (const { first, frame, count } of this.entries.get(area)!.runs)
      if (page >= first && page < first + count)
        return { frame: frame + page - first, offset: Number(byte % PAGE) };
    return null;
  }

  /** What was written stays known when a log ends, but for the older page tables. */
  setLogging(on: boolean): void {
    this.isLogging = on;
    if (on || !this.isGeneric) for (const { dirty } of this.entries.values()) dirty.clear();
  }

  /**
   * A device has written at an address: the entry that has it is dirty; one of a page is told by
   * its first unit.
   * Whether that counts: it does not where an older table has nothing.
   */
  setDirty(iova: bigint): boolean {
    const area = this.areaAt(iova);
    if (area === null) return this.isGeneric;
    const { dirty } = this.entries.get(area)!;
    const block = this.huge ? this.hugeEntry(area, iova) : null;
    if (block !== null) {
      const first = Number((block - area.iova) / UNIT);
      for (let unit = first; unit < first + HUGE_UNITS; unit++) dirty.add(unit);
      return true;
    }
    const entry = this.pageEntry(area, iova) ?? iova;
    dirty.add(Number((entry - area.iova) / UNIT));
    return true;
  }

  *dirtyRanges(
    area: Area,
    first: bigint,
    end: bigint,
    clear: boolean,
  ): Generator<ByteRange, void, void> {
    const { dirty } = this.entries.get(area)!;
    for (const unit of [...dirty].sort((a, b) => a - b)) {
      const at = area.iova + BigInt(unit) * UNIT;
      if (at < first || at >= end) continue;
      yield { first: at, end: at + UNIT };
      if (clear) dirty.delete(unit);
    }
  }

  /** Where the entry of a whole page begins that has an address; null: its entry is a unit. */
  private pageEntry(area: Area, iova: bigint): bigint | null {
    const page = iova & -PAGE;
    const isWhole = this.isGeneric && page >= area.iova && page + PAGE <= area.end;
    return isWhole && (area.start + page - area.iova) % PAGE === 0n ? page : null;
  }

  /** Where an entry of 1 MiB begins that has an address; null: it is in a smaller one. */
  private hugeEntry(area: Area, iova: bigint): bigint | null {
    const block = iova & -HUGE;
    if (block < area.iova || block + HUGE > area.end) return null;
    const first = this.physicalAt(block);
    const last = this.physicalAt(block + HUGE - PAGE);
    if (first === null || last === null || first.offset !== 0) return null;
    const pages = Number(HUGE / PAGE);
    const isOne = last.frame === first.frame + pages - 1 && first.frame % pages === 0;
    return isOne ? block : null;
  }

  private areaAt(iova: bigint): Area | null {
    const area = this.ioas?.areas.firstIn(iova, iova + 1n) ?? null;
    return area !== null && this.entries.has(area) ? area : null;
  }
}
