/**
 * A broken invariant of iopf. Carries the state that shows it; no program's input may cause one.
 */
export class Bug extends Error {
  constructor(
    message: string,
    readonly state: Readonly<Record<string, unknown>> = {},
  ) {
    super(
      `${message} ${JSON.stringify(state, (_, value) => (typeof value === 'bigint' ? `${value}` : value))}`,
    );
    this.name = 'Bug';
  }
}
