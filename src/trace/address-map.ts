/**
 * Where a run touched memory, and when: a grid of at most 64 address ranges by 128 steps of time,
 * both a power of two wide.
 */
import { PAGE_SIZE } from '../mm/address-space.js';

const ROWS_MOST = 64;
const STEPS = 128;

/** What happened in a cell, each a count of pages but `faulted`: page requests. */
export interface MapCell {
  readonly step: number;
  readonly touched: number;
  readonly faulted: number;
  readonly mapped: number;
  readonly taken: number;
}

export interface AddressMapData {
  /** Width of a step in seconds, and of a row in bytes. */
  readonly stepSeconds: number;
  readonly rowBytes: number;
  /** Rows with something in them, by IOVA; there may be gaps between them. */
  readonly rows: readonly { readonly iova: number; readonly cells: readonly MapCell[] }[];
}

export class AddressMap {
  private widthUs = 1;
  private pagesPerRow = 1;
  private rows = new Map<number, Row>();

  touched(at: number, page: number, count: number): void {
    this.add(at, page, count, 0);
  }

  faulted(at: number, page: number): void {
    this.add(at, page, 1, 1);
  }

  mapped(at: number, page: number, count: number): void {
    this.add(at, page, count, 2);
  }

  taken(at: number, page: number, count: number): void {
    this.add(at, page, count, 3);
  }

  get data(): AddressMapData {
    const rows = [...this.rows].sort(([a], [b]) => a - b);
    return {
      stepSeconds: this.widthUs / 1e6,
      rowBytes: this.pagesPerRow * PAGE_SIZE,
      rows: rows.map(([key, row]) => ({
        iova: key * this.pagesPerRow * PAGE_SIZE,
        cells: cellsOf(row),
      })),
    };
  }

  /** Adds pages of [page, page + count) to `kind`: 0 touched, 1 faulted, 2 mapped, 3 taken. */
  private add(at: number, page: number, count: number, kind: number): void {
    while (at >= STEPS * this.widthUs) this.halveTime();
    const step = Math.floor(at / this.widthUs);
    const end = page + count;
    for (let from = page; from < end; ) {
      const key = Math.floor(from / this.pagesPerRow);
      const stop = Math.min(end, (key + 1) * this.pagesPerRow);
      let row = this.rows.get(key);
      if (row === undefined) {
        if (this.rows.size === ROWS_MOST) {
          this.halveRows();
          continue;
        }
        row = new Float64Array(4 * STEPS);
        this.rows.set(key, row);
      }
      row[4 * step + kind]! += stop - from;
      from = stop;
    }
  }

  private halveTime(): void {
    for (const row of this.rows.values()) {
      for (let at = 0; at < 2 * STEPS; at++) {
        const from = 8 * (at >>> 2) + (at & 3);
        row[at] = row[from]! + row[from + 4]!;
      }
      row.fill(0, 2 * STEPS);
    }
    this.widthUs *= 2;
  }

  private halveRows(): void {
    const rows = new Map<number, Row>();
    for (const [key, row] of this.rows) {
      const half = Math.floor(key / 2);
      const other = rows.get(half);
      if (other === undefined) rows.set(half, row);
      else for (let at = 0; at < row.length; at++) other[at]! += row[at]!;
    }
    this.rows = rows;
    this.pagesPerRow *= 2;
  }
}

/** Four counts for each step. */
type Row = Float64Array<ArrayBuffer>;

function cellsOf(row: Row): MapCell[] {
  const cells: MapCell[] = [];
  for (let step = 0; step < STEPS; step++) {
    const [touched, faulted, mapped, taken] = row.subarray(4 * step, 4 * step + 4);
    if (touched || faulted || mapped || taken)
      cells.push({ step, touched: touched!, faulted: faulted!, mapped: mapped!, taken: taken! });
  }
  return cells;
}
