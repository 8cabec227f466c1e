/**
 * Which addresses of a run are in use, down to single pages and in bounded memory: how often each
 * page was touched by a device, asked for, and taken away.
 *
 * Terms: a *cell* is a power of two of pages that share their counts, one page at first. A *block*
 * is 256 cells in a row; it is made when a device first reaches one of its pages. Once there would
 * be more than 4,096 blocks, cells become twice as wide.
 */
const BLOCK_CELLS = 256;
const BLOCK_SHIFT = 8;
const BLOCKS_MOST = 4096;
const BLOCKS_FIRST = 16;

/** Counts of one kind: of each cell, and of each block. */
interface Counts {
  readonly cells: Float64Array<ArrayBuffer>;
  readonly blocks: Float64Array<ArrayBuffer>;
}

interface AllCounts {
  readonly touched: Counts;
  readonly faulted: Counts;
  readonly taken: Counts;
  /** What `touched` was at the last query for news. */
  readonly seen: Counts;
}

const KINDS = ['touched', 'faulted', 'taken'] as const;
const ALL = [...KINDS, 'seen'] as const;

/** What a heat map holds, as plain data. */
export interface HeatData {
  readonly pagesPerCell: number;
  /** Number of each block: its first cell / 256. */
  readonly keys: Int32Array<ArrayBuffer>;
  readonly counts: AllCounts;
}

/** Sums of each kind for each row. */
export interface HeatRows {
  readonly touched: number[];
  readonly faulted: number[];
  readonly taken: number[];
}

export class HeatMap {
  pagesPerCell = 1;
  /** A power of two as well, so that multiplying is exact. */
  private cellsPerPage = 1;
  private pagesPerBlock = BLOCK_CELLS;
  private blocks = 0;
  private keys = new Int32Array(BLOCKS_FIRST);
  private counts = emptyCounts(BLOCKS_FIRST);
  /**
   * Open addressing: block + 1 by a hash of its number, 0 where there is none. A power of two, four
   * times the blocks.
   */
  private places = new Int32Array(BLOCKS_FIRST * 4);
  /** The block of the last look-up: its first page, none where that is NaN, and its first cell. */
  private lastPage = Number.NaN;
  private lastCell = 0;
  /** The counts that are hot: those of `counts.touched`. */
  private touchedCells = this.counts.touched.cells;
  private touchedBlocks = this.counts.touched.blocks;

  static from({ pagesPerCell, keys, counts }: HeatData): HeatMap {
    const map = new HeatMap();
    map.pagesPerCell = pagesPerCell;
    map.pagesPerBlock = pagesPerCell * BLOCK_CELLS;
    map.blocks = keys.length;
    map.keys = keys;
    map.cellsPerPage = 1 / pagesPerCell;
    map.useCounts(counts);
    map.index();
    return map;
  }

  get data(): HeatData {
    const { blocks, counts, pagesPerCell } = this;
    const cut = (kind: Counts): Counts => ({
      cells: kind.cells.slice(0, blocks * BLOCK_CELLS),
      blocks: kind.blocks.slice(0, blocks),
    });
    const { touched, faulted, taken, seen } = counts;
    return {
      pagesPerCell,
      keys: this.keys.slice(0, blocks),
      counts: { touched: cut(touched), faulted: cut(faulted), taken: cut(taken), seen: cut(seen) },
    };
  }

  /** A device reached a page. Hot. */
  touch(iovaPage: number): void {
    const offset = iovaPage - this.lastPage;
    const isNear = offset >= 0 && offset < this.pagesPerBlock;
    const cell = isNear
      ? this.lastCell + ((offset * this.cellsPerPage) | 0)
      : this.cellFor(iovaPage);
    this.touchedCells[cell]!++;
    this.touchedBlocks[cell >>> BLOCK_SHIFT]!++;
  }

  /** A device asked for a page. */
  fault(iovaPage: number): void {
    const cell = this.cellFor(iovaPage);
    const { faulted } = this.counts;
    faulted.cells[cell]!++;
    faulted.blocks[cell >>> BLOCK_SHIFT]!++;
  }

  /**
   * Pages went. Where no device has ever been nothing is noted: there may be as many as they like.
   */
  take(iovaPage: number, count: number): void {
    this.eachBlock(iovaPage, iovaPage + count, (block, base, from, to) => {
      const { taken } = this.counts;
      this.eachCell(block, base, from, to, (cell, _, pages) => {
        taken.cells[cell]! += pages;
      });
      taken.blocks[block]! += to - from;
    });
  }

  /**
   * Sums for `rows` rows of `pagesPerRow` pages, from page `first` on. A cell that is wider than a
   * row is spread over its rows.
   */
  rows(first: number, pagesPerRow: number, rows: number): HeatRows {
    const sums = { touched: zeros(rows), faulted: zeros(rows), taken: zeros(rows) };
    const { counts, pagesPerBlock, pagesPerCell } = this;
    const rowOf = (page: number): number => Math.floor((page - first) / pagesPerRow);
    const end = first + pagesPerRow * rows;
    this.eachBlock(first, end, (block, base, from, to) => {
      const row = rowOf(from);
      if (to - from === pagesPerBlock && row === rowOf(to - 1)) {
        for (const kind of KINDS) sums[kind][row]! += counts[kind].blocks[block]!;
        return;
      }
      this.eachCell(block, base, from, to, (cell, page, pages) => {
        for (let at = page; at < page + pages; ) {
          const own = rowOf(at);
          const stop = Math.min(page + pages, first + (own + 1) * pagesPerRow);
          const share = (stop - at) / pagesPerCell;
          for (const kind of KINDS) sums[kind][own]! += counts[kind].cells[cell]! * share;
          at = stop;
        }
      });
    });
    return sums;
  }

  /** Calls for every run of pages that were touched since the last time. */
  eachNew(visit: (page: number, pages: number) => void): void {
    const { pagesPerBlock, pagesPerCell } = this;
    const { touched, seen } = this.counts;
    for (let block = 0; block < this.blocks; block++) {
      if (touched.blocks[block] === seen.blocks[block]) continue;
      seen.blocks[block] = touched.blocks[block]!;
      const base = this.keys[block]! * pagesPerBlock;
      let run = 0;
      for (let index = 0; index <= BLOCK_CELLS; index++) {
        const cell = block * BLOCK_CELLS + index;
        if (index < BLOCK_CELLS && touched.cells[cell] !== seen.cells[cell]) {
          seen.cells[cell] = touched.cells[cell]!;
          run++;
        } else if (run > 0) {
          visit(base + (index - run) * pagesPerCell, run * pagesPerCell);
          run = 0;
        }
      }
    }
  }

  /** Every block with pages in [first, end): its first page, and which of its pages these are. */
  private eachBlock(
    first: number,
    end: number,
    visit: (block: number, base: number, from: number, to: number) => void,
  ): void {
    const { pagesPerBlock } = this;
    const firstKey = Math.floor(first / pagesPerBlock);
    const endKey = Math.ceil(end / pagesPerBlock);
    const look = (block: number): void => {
      const base = this.keys[block]! * pagesPerBlock;
      visit(block, base, Math.max(first, base), Math.min(end, base + pagesPerBlock));
    };
    if (endKey - firstKey <= this.blocks) {
      for (let key = firstKey; key < endKey; key++) {
        const block = this.places[this.placeOf(key)]! - 1;
        if (block >= 0) look(block);
      }
      return;
    }
    for (let block = 0; block < this.blocks; block++)
      if (this.keys[block]! >= firstKey && this.keys[block]! < endKey) look(block);
  }

  /** Every cell of a block with pages in [from, to): the first of these, and how many. */
  private eachCell(
    block: number,
    base: number,
    from: number,
    to: number,
    visit: (cell: number, page: number, pages: number) => void,
  ): void {
    const { pagesPerCell } = this;
    for (let page = from; page < to; ) {
      const cell = Math.floor((page - base) / pagesPerCell);
      const stop = Math.min(to, base + (cell + 1) * pagesPerCell);
      visit(block * BLOCK_CELLS + cell, page, stop - page);
      page = stop;
    }
  }

  /** Where the counts of a page are; makes its block. */
  private cellFor(page: number): number {
    const key = Math.floor(page / this.pagesPerBlock);
    const block = this.places[this.placeOf(key)]! - 1;
    if (block < 0) {
      this.makeRoom(key);
      return this.cellFor(page);
    }
    this.lastPage = key * this.pagesPerBlock;
    this.lastCell = block * BLOCK_CELLS;
    return this.lastCell + Math.floor((page - this.lastPage) * this.cellsPerPage);
  }

  /** Where a block is noted, or the free place where it would be. */
  private placeOf(key: number): number {
    const { places, keys } = this;
    const mask = places.length - 1;
    let place = (Math.imul(key, 0x9e3779b1) >>> 7) & mask;
    while (places[place] !== 0 && keys[places[place]! - 1] !== key) place = (place + 1) & mask;
    return place;
  }

  /** Makes a block; or, where there are too many, widens the cells. */
  private makeRoom(key: number): void {
    if (this.blocks === BLOCKS_MOST) this.widen();
    else this.makeBlock(key);
  }

  private makeBlock(key: number): number {
    if (this.blocks === this.keys.length) this.grow();
    const place = this.placeOf(key);
    const block = this.blocks++;
    this.keys[block] = key;
    this.places[place] = block + 1;
    return block;
  }

  private grow(): void {
    const { keys, counts } = this;
    this.keys = new Int32Array(keys.length * 2);
    this.keys.set(keys);
    this.useCounts(emptyCounts(keys.length * 2));
    for (const kind of ALL) {
      this.counts[kind].cells.set(counts[kind].cells);
      this.counts[kind].blocks.set(counts[kind].blocks);
    }
    this.index();
  }

  /** Two cells become one, and two blocks where they are neighbours. */
  private widen(): void {
    const { keys, counts, blocks } = this;
    this.pagesPerCell *= 2;
    this.pagesPerBlock *= 2;
    this.keys = new Int32Array(keys.length);
    this.cellsPerPage /= 2;
    this.useCounts(emptyCounts(keys.length));
    this.places.fill(0);
    this.blocks = 0;
    for (let old = 0; old < blocks; old++) {
      const key = keys[old]! >>> 1;
      let block = this.places[this.placeOf(key)]! - 1;
      if (block < 0) block = this.makeBlock(key);
      const base = block * BLOCK_CELLS + (keys[old]! & 1) * (BLOCK_CELLS / 2);
      for (const kind of ALL) {
        const [from, to] = [counts[kind], this.counts[kind]];
        for (let cell = 0; cell < BLOCK_CELLS; cell++)
          to.cells[base + (cell >>> 1)]! += from.cells[old * BLOCK_CELLS + cell]!;
        to.blocks[block]! += from.blocks[old]!;
      }
    }
  }

  private useCounts(counts: AllCounts): void {
    this.counts = counts;
    this.touchedCells = counts.touched.cells;
    this.touchedBlocks = counts.touched.blocks;
    this.lastPage = Number.NaN;
  }

  /** Notes all blocks anew. */
  private index(): void {
    const { blocks, keys } = this;
    this.places = new Int32Array(
      4 * 2 ** Math.ceil(Math.log2(Math.max(keys.length, BLOCKS_FIRST))),
    );
    for (let block = 0; block < blocks; block++)
      this.places[this.placeOf(keys[block]!)] = block + 1;
  }
}

function emptyCounts(blocks: number): AllCounts {
  const make = (): Counts => ({
    cells: new Float64Array(blocks * BLOCK_CELLS),
    blocks: new Float64Array(blocks),
  });
  return { touched: make(), faulted: make(), taken: make(), seen: make() };
}

function zeros(count: number): number[] {
  return new Array<number>(count).fill(0);
}
