/** What an order of events broke. */
export class Violation extends Error {
  constructor(
    /** The invariant, as a sentence. */
    readonly invariant: string,
    /** The row of design/series.md that asks for it; null: the scenario's. */
    readonly row: string | null,
    /** What was seen instead. */
    readonly detail: string,
  ) {
    super(`${invariant}: ${detail}`);
    this.name = 'Violation';
  }
}

export function violated(invariant: string, row: string | null, detail: string): never {
  throw new Violation(invariant, row, detail);
}
