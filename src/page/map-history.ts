/**
 * What the address × time map knows: for each step of time, pieces of the address space in rows. A
 * live run tells totals of what its page shows at that moment, a report one fixed grid. Time is cut
 * into at most 256 equal steps; a longer run gets steps twice as long.
 */

import type { LiveMapColumn } from '../live/live.js';
import type { AddressMapData } from '../trace/address-map.js';
import { layersOf } from './map-layers.js';

const STEPS_MOST = 256;
/** More than a report's rows and what a live page asks about. */
const PIECES_MOST = 160;

/** Rows of equal width; arrays have a number for each. */
export interface Piece {
  readonly first: number;
  readonly pagesPerRow: number;
  /** Pages of live mappings, and pages in I/O page tables, at the step's end. */
  readonly mapped: readonly number[];
  readonly resident: readonly number[];
  /** What happened in the step: accesses, page requests, pages taken away. */
  readonly touched: readonly number[];
  readonly faulted: readonly number[];
  readonly taken: readonly number[];
  /** Pages that came into I/O page tables in the step; null: not known. */
  readonly broughtIn: readonly number[] | null;
}

/** One row of a piece. */
export interface Cell {
  readonly first: number;
  readonly pages: number;
  readonly mapped: number;
  readonly resident: number;
  readonly touched: number;
  readonly faulted: number;
  readonly taken: number;
  readonly broughtIn: number | null;
}

export class MapHistory {
  /** The pieces of each step; of two over the same pages the later is the newer. */
  steps: (readonly Piece[])[] = [];
  private before: readonly LiveMapColumn[] = [];
  /** The step of the answer before; -1: there was none. */
  private lastStep = -1;

  constructor(public stepSeconds: number) {}

  /** A report's map, as far as its rows know: see `layersOf`. */
  static of(data: AddressMapData): MapHistory {
    const history = new MapHistory(data.stepSeconds);
    history.steps = layersOf(data);
    return history;
  }

  /**
   * What a live run answered. Differences to the answer before are what happened since then, spread
   * over the steps between. Returns the first step that has changed.
   */
  add(seconds: number, columns: readonly LiveMapColumn[]): number {
    const changed = this.makeRoom(seconds);
    const step = Math.floor(seconds / this.stepSeconds);
    const first = this.lastStep < 0 ? step : Math.min(step, this.lastStep + 1);
    while (this.steps.length <= step) this.steps.push([]);
    const share = 1 / (step - first + 1);
    const pieces = columns.map((column, index) => difference(column, this.before[index], share));
    // In between it was, as far as is known, as it was before.
    const between = this.before.map((column, index) => {
      const piece = pieces[index];
      const same = piece !== undefined && sameRows(piece, column);
      return same
        ? { ...piece, mapped: column.mapped, resident: column.resident }
        : difference(column, undefined, 0);
    });
    for (let each = first; each < step; each++)
      this.steps[each] = together(this.steps[each]!, between);
    this.steps[step] = together(this.steps[step]!, pieces);
    this.before = columns;
    this.lastStep = step;
    return Math.min(changed, first);
  }

  /**
   * Time has gone on: what nobody has told yet is as it was, but where nothing is mapped any more.
   * Returns the first step that has changed.
   */
  pass(seconds: number, isMapped: boolean): number {
    const changed = this.makeRoom(seconds);
    if (!isMapped)
      this.before = this.before.map((column) => {
        const none = column.mapped.map(() => 0);
        return { ...column, mapped: none, resident: none };
      });
    const first = this.steps.length;
    const pieces = this.before.map((column) => difference(column, undefined, 0));
    while (this.steps.length * this.stepSeconds < seconds) this.steps.push(pieces);
    return Math.min(changed, first);
  }

  /** What it shows ends here. */
  get seconds(): number {
    return this.steps.length * this.stepSeconds;
  }

  /** Lays another history under this one: it shows where this one knows nothing. */
  underlay(other: MapHistory): void {
    const end = Math.max(this.seconds, other.seconds);
    while (end > STEPS_MOST * this.stepSeconds) this.halve();
    const steps = Math.ceil(end / this.stepSeconds - 1e-9);
    for (let step = 0; step < steps; step++) {
      const under = other.between(step * this.stepSeconds, (step + 1) * this.stepSeconds);
      this.steps[step] = [...under, ...(this.steps[step] ?? [])];
    }
  }

  /**
   * What happened from one second to another, as one step; of a step that is only partly in it, its
   * share.
   */
  private between(from: number, to: number): readonly Piece[] {
    let pieces: readonly Piece[] = [];
    const first = Math.floor(from / this.stepSeconds);
    for (let step = first; step < this.steps.length && step * this.stepSeconds < to; step++) {
      const inside =
        Math.min(to, (step + 1) * this.stepSeconds) - Math.max(from, step * this.stepSeconds);
      const share = inside / this.stepSeconds;
      if (share > 1e-9)
        pieces = together(
          pieces,
          this.steps[step]!.map((piece) => part(piece, share)),
        );
    }
    return pieces;
  }

  /** The rows at a page in a step, newest piece first. */
  at(step: number, page: number): Piece[] {
    const pieces = this.steps[step] ?? [];
    return pieces.filter((piece) => rowOf(piece, page) >= 0).reverse();
  }

  cell(step: number, page: number): Cell | null {
    const [piece] = this.at(step, page);
    if (piece === undefined) return null;
    const row = rowOf(piece, page);
    return {
      first: piece.first + row * piece.pagesPerRow,
      pages: piece.pagesPerRow,
      mapped: piece.mapped[row]!,
      resident: piece.resident[row]!,
      touched: piece.touched[row]!,
      faulted: piece.faulted[row]!,
      taken: piece.taken[row]!,
      broughtIn: piece.broughtIn?.[row] ?? null,
    };
  }

  /** Widens the steps until a moment is in one. Returns the first that has changed. */
  private makeRoom(seconds: number): number {
    if (seconds < STEPS_MOST * this.stepSeconds) return Number.POSITIVE_INFINITY;
    while (seconds >= STEPS_MOST * this.stepSeconds) this.halve();
    return 0;
  }

  private halve(): void {
    const halved: (readonly Piece[])[] = [];
    for (let step = 0; step < this.steps.length; step += 2)
      halved.push(together(this.steps[step]!, this.steps[step + 1] ?? []));
    this.steps = halved;
    this.lastStep = Math.floor(this.lastStep / 2);
    this.stepSeconds *= 2;
  }
}

/** The row of a page, or -1. */
export function rowOf(piece: Piece, page: number): number {
  const row = Math.floor((page - piece.first) / piece.pagesPerRow);
  return row >= 0 && row < piece.resident.length ? row : -1;
}

/**
 * A share of what happened between two answers about the same rows; about others only how it is now
 * is known.
 */
function difference(now: LiveMapColumn, before: LiveMapColumn | undefined, share: number): Piece {
  const { first, pagesPerRow, mapped, resident } = now;
  const same = before !== undefined && sameRows(now, before);
  const less = (values: readonly number[], old: readonly number[]): number[] =>
    values.map((value, row) => share * Math.max(0, value - old[row]!));
  const none = resident.map(() => 0);
  return {
    first,
    pagesPerRow,
    mapped,
    resident,
    touched: same ? less(now.touched, before.touched) : none,
    faulted: same ? less(now.faulted, before.faulted) : none,
    taken: same ? less(now.taken, before.taken) : none,
    broughtIn: null,
  };
}

/** A piece of which only a share happened. */
function part(piece: Piece, share: number): Piece {
  const of = (values: readonly number[]): number[] => values.map((value) => share * value);
  const { broughtIn, faulted, taken, touched } = piece;
  return {
    ...piece,
    touched: of(touched),
    faulted: of(faulted),
    taken: of(taken),
    broughtIn: broughtIn && of(broughtIn),
  };
}

interface Rows {
  readonly first: number;
  readonly pagesPerRow: number;
  readonly resident: readonly number[];
}

function sameRows(a: Rows, b: Rows): boolean {
  return (
    a.first === b.first &&
    a.pagesPerRow === b.pagesPerRow &&
    a.resident.length === b.resident.length
  );
}

/** Two moments as one: of the same rows how they were last, and all that happened. */
function together(early: readonly Piece[], late: readonly Piece[]): readonly Piece[] {
  if (early.length === 0) return late;
  const rest = early.filter((piece) => !late.some((other) => sameRows(piece, other)));
  const pieces = late.map((piece): Piece => {
    const other = early.find((each) => sameRows(piece, each));
    if (other === undefined) return piece;
    const sum = (a: readonly number[], b: readonly number[]): number[] =>
      a.map((value, row) => value + b[row]!);
    return {
      ...piece,
      touched: sum(piece.touched, other.touched),
      faulted: sum(piece.faulted, other.faulted),
      taken: sum(piece.taken, other.taken),
      broughtIn: piece.broughtIn && other.broughtIn && sum(piece.broughtIn, other.broughtIn),
    };
  });
  return [...rest, ...pieces].slice(-PIECES_MOST);
}
