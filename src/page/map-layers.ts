/** A report's map as the pieces that a picture is drawn from. */
import type { AddressMapData } from '../trace/address-map.js';
import { PAGE_BYTES } from './format.js';
import type { Piece } from './map-history.js';

/** Rows that lie side by side. */
interface Run {
  readonly first: number;
  /** Their places among all rows. */
  readonly rows: readonly number[];
}

/**
 * For each step the mappings, over them what devices did. Pages in I/O page tables are what came in
 * less what went. Mapped are pages that were part of a mapping at any time of the step.
 */
export function layersOf({ mappings, rowBytes, rows, stepSeconds }: AddressMapData): Piece[][] {
  const last = [...rows, ...mappings.rows].map(({ cells }) => cells.at(-1)?.step ?? -1);
  // Behind the end of the last mapping a step shows that there is none.
  const steps = stepSeconds > 0 ? 1 + Math.max(-1, ...last) : 0;
  const mapped = new MappedRows(mappings);
  const pagesPerRow = rowBytes / PAGE_BYTES;
  const runs = runsOf(rows, rowBytes);
  const resident = rows.map(() => 0);
  return Array.from({ length: steps }, (_, step) => {
    mapped.enter(step);
    const over = runs.map((run): Piece => {
      const cells = run.rows.map((row) => rows[row]!.cells.find((each) => each.step === step));
      const of = (name: 'touched' | 'faulted' | 'mapped' | 'taken'): number[] =>
        cells.map((cell) => cell?.[name] ?? 0);
      const [broughtIn, taken] = [of('mapped'), of('taken')];
      for (const [at, row] of run.rows.entries()) {
        const now = resident[row]! + broughtIn[at]! - taken[at]!;
        resident[row] = Math.max(0, Math.min(pagesPerRow, now));
      }
      return {
        first: run.first,
        pagesPerRow,
        mapped: run.rows.map((_, at) => mapped.pagesIn(run.first + at * pagesPerRow, pagesPerRow)),
        resident: run.rows.map((row) => resident[row]!),
        touched: of('touched'),
        faulted: of('faulted'),
        taken,
        broughtIn,
      };
    });
    return [...mapped.pieces, ...over];
  });
}

/** Pages of mappings, step by step. */
class MappedRows {
  private readonly pagesPerRow: number;
  private readonly runs: readonly Run[];
  /** At the end of the step before, and in this one. */
  private readonly before: number[];
  private now: readonly number[] = [];

  constructor(private readonly data: AddressMapData['mappings']) {
    this.pagesPerRow = data.rowBytes / PAGE_BYTES;
    this.runs = runsOf(data.rows, data.rowBytes);
    this.before = data.rows.map(() => 0);
  }

  /** Steps must come in their order. */
  enter(step: number): void {
    const { before, data, pagesPerRow } = this;
    this.now = data.rows.map(({ cells }, row) => {
      const cell = cells.find((each) => each.step === step);
      const most = before[row]! + (cell?.added ?? 0);
      before[row] = Math.max(0, most - (cell?.removed ?? 0));
      return Math.min(pagesPerRow, most);
    });
  }

  get pieces(): Piece[] {
    return this.runs.map(({ first, rows }) => {
      const none = rows.map(() => 0);
      return {
        first,
        pagesPerRow: this.pagesPerRow,
        mapped: rows.map((row) => this.now[row]!),
        resident: none,
        touched: none,
        faulted: none,
        taken: none,
        broughtIn: none,
      };
    });
  }

  /** How many pages from `first` on are mapped, as far as rows of another width tell. */
  pagesIn(first: number, pages: number): number {
    const { data, now, pagesPerRow } = this;
    let mapped = 0;
    for (const [row, { iova }] of data.rows.entries()) {
      const start = iova / PAGE_BYTES;
      const inside = Math.min(first + pages, start + pagesPerRow) - Math.max(first, start);
      if (inside > 0) mapped += (now[row]! * inside) / pagesPerRow;
    }
    return Math.min(pages, Math.round(mapped));
  }
}

function runsOf(rows: readonly { readonly iova: number }[], rowBytes: number): Run[] {
  const runs: { first: number; rows: number[] }[] = [];
  rows.forEach(({ iova }, row) => {
    const isNext = row > 0 && rows[row - 1]!.iova + rowBytes === iova;
    if (isNext) runs.at(-1)!.rows.push(row);
    else runs.push({ first: iova / PAGE_BYTES, rows: [row] });
  });
  return runs;
}
