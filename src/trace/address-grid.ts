/**
 * Counts of pages by address range and time: a bounded number of rows by 128 steps of time, both a
 * power of two wide, which double where they would not do.
 */
const STEPS = 128;

export class AddressGrid {
  widthUs = 1;
  pagesPerRow = 1;
  private rows = new Map<number, Float64Array<ArrayBuffer>>();

  /** @param kinds how many counts each cell has */
  constructor(
    private readonly kinds: number,
    private readonly rowsMost: number,
  ) {}

  /** Adds pages of [page, page + count) to a kind, at a time in microseconds. */
  add(at: number, page: number, count: number, kind: number): void {
    while (at >= STEPS * this.widthUs) this.halveTime();
    const step = Math.floor(at / this.widthUs);
    const end = page + count;
    for (let from = page; from < end; ) {
      const key = Math.floor(from / this.pagesPerRow);
      const stop = Math.min(end, (key + 1) * this.pagesPerRow);
      let row = this.rows.get(key);
      if (row === undefined) {
        if (this.rows.size === this.rowsMost) {
          this.halveRows();
          continue;
        }
        row = new Float64Array(this.kinds * STEPS);
        this.rows.set(key, row);
      }
      row[this.kinds * step + kind]! += stop - from;
      from = stop;
    }
  }

  /** Makes its steps as wide as those of another grid, if they are narrower. */
  widen(widthUs: number): void {
    while (this.widthUs < widthUs) this.halveTime();
  }

  /** Rows with something in them, by address: the first page, and the cells that are not empty. */
  rowsOf<Cell>(
    cellOf: (step: number, counts: Float64Array) => Cell,
  ): { readonly page: number; readonly cells: Cell[] }[] {
    const { kinds, pagesPerRow, rows } = this;
    const sorted = [...rows].sort(([a], [b]) => a - b);
    return sorted.map(([key, row]) => {
      const cells: Cell[] = [];
      for (let step = 0; step < STEPS; step++) {
        const counts = row.subarray(kinds * step, kinds * (step + 1));
        if (counts.some((count) => count !== 0)) cells.push(cellOf(step, counts));
      }
      return { page: key * pagesPerRow, cells };
    });
  }

  private halveTime(): void {
    const { kinds } = this;
    for (const row of this.rows.values()) {
      for (let step = 0; step < STEPS / 2; step++)
        for (let kind = 0; kind < kinds; kind++)
          row[kinds * step + kind] =
            row[2 * kinds * step + kind]! + row[(2 * step + 1) * kinds + kind]!;
      row.fill(0, (kinds * STEPS) / 2);
    }
    this.widthUs *= 2;
  }

  private halveRows(): void {
    const rows = new Map<number, Float64Array<ArrayBuffer>>();
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
