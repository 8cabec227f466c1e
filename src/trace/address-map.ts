/**
 * Where a run had memory mapped and touched it, and when. What devices touched is in a grid of its
 * own, with few rows: memory that is mapped and never used must not make its rows wider.
 */
import { PAGE_SIZE } from '../mm/address-space.js';
import { AddressGrid } from './address-grid.js';

const ROWS_MOST = 64;
const MAPPING_ROWS_MOST = 256;

/** What happened in a cell, each a count of pages but `faulted`: page requests. */
export interface MapCell {
  readonly step: number;
  readonly touched: number;
  readonly faulted: number;
  readonly mapped: number;
  readonly taken: number;
}

/** Pages that became part of a mapping in a step, and that ceased to be. */
export interface MappingCell {
  readonly step: number;
  readonly added: number;
  readonly removed: number;
}

/** Rows with something in them, by IOVA; there may be gaps between them. */
interface Rows<Cell> {
  /** Width of a row. */
  readonly rowBytes: number;
  readonly rows: readonly { readonly iova: number; readonly cells: readonly Cell[] }[];
}

export interface AddressMapData extends Rows<MapCell> {
  /** Width of a step in seconds. */
  readonly stepSeconds: number;
  /** DMA mappings, in the same steps. */
  readonly mappings: Rows<MappingCell>;
}

/** Times are microseconds since the run began. */
export class AddressMap {
  private readonly activity = new AddressGrid(4, ROWS_MOST);
  private readonly mappings = new AddressGrid(2, MAPPING_ROWS_MOST);

  touched(at: number, page: number, count: number): void {
    this.activity.add(at, page, count, 0);
  }

  faulted(at: number, page: number): void {
    this.activity.add(at, page, 1, 1);
  }

  mapped(at: number, page: number, count: number): void {
    this.activity.add(at, page, count, 2);
  }

  taken(at: number, page: number, count: number): void {
    this.activity.add(at, page, count, 3);
  }

  mappingAdded(at: number, page: number, count: number): void {
    this.mappings.add(at, page, count, 0);
  }

  mappingRemoved(at: number, page: number, count: number): void {
    this.mappings.add(at, page, count, 1);
  }

  get data(): AddressMapData {
    const { activity, mappings } = this;
    activity.widen(mappings.widthUs);
    mappings.widen(activity.widthUs);
    return {
      stepSeconds: activity.widthUs / 1e6,
      ...inBytes(activity, (step, [touched, faulted, mapped, taken]) => ({
        step,
        touched: touched!,
        faulted: faulted!,
        mapped: mapped!,
        taken: taken!,
      })),
      mappings: inBytes(mappings, (step, [added, removed]) => ({
        step,
        added: added!,
        removed: removed!,
      })),
    };
  }
}

function inBytes<Cell>(
  grid: AddressGrid,
  cellOf: (step: number, counts: Float64Array) => Cell,
): Rows<Cell> {
  return {
    rowBytes: grid.pagesPerRow * PAGE_SIZE,
    rows: grid.rowsOf(cellOf).map(({ page, cells }) => ({ iova: page * PAGE_SIZE, cells })),
  };
}
