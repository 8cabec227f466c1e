/** Times as users write them, with their unit: one grammar for options and files. */

/** Microseconds of each unit. */
export const timeUnits = { ns: 1e-3, us: 1, ms: 1e3, s: 1e6 } as const;
export type TimeUnit = keyof typeof timeUnits;

const GRAMMAR = /^(\d+(?:\.\d+)?)(ns|us|ms|s)$/;

/** Microseconds of `250ns`, `10us`, `1.5ms` or `2s`; NaN: it is none, or its unit is not taken. */
export function parseTime(text: string, units: readonly TimeUnit[]): number {
  const match = GRAMMAR.exec(text);
  const unit = match?.[2] as TimeUnit;
  return match !== null && units.includes(unit) ? Number(match[1]) * timeUnits[unit] : Number.NaN;
}
