/** Numbers with units, as users write them. */
import { z } from 'zod';

const units: Readonly<Record<string, number>> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };
const microseconds: Readonly<Record<string, number>> = { ns: 1e-3, us: 1, ms: 1e3, s: 1e6 };

/** A number of bytes, also as `0x1000` or `64M`. */
export const size = z.union([
  z.number().int().nonnegative(),
  z
    .string()
    .regex(/^(0x[0-9a-fA-F]+|\d+[KMGT]?)$/, 'must be a number of bytes, like 0x1000 or 64M'),
]);

/** Bytes of `64M`, `0x1000` or a number. */
export function parseSize(value: string | number): number {
  if (typeof value === 'number') return value;
  const unit = units[value.at(-1)!];
  return unit === undefined ? Number(value) : Number(value.slice(0, -1)) * unit;
}

/** Bytes, from what `size` allows. */
export const bytes = size.transform(parseSize);

/** At least one of them. */
export const someBytes = bytes.refine((value) => value > 0, 'must be more than 0');

/** Microseconds, from `250ns`, `10us`, `1.5ms` or `2s`. */
export const duration = z
  .string('must be a time with its unit, like 10us, 1.5ms or 2s')
  .regex(/^\d+(\.\d+)?(ns|us|ms|s)$/, 'must be a time with its unit, like 10us, 1.5ms or 2s')
  .transform((text) => {
    const unit = /[a-z]+$/.exec(text)![0];
    return Number(text.slice(0, -unit.length)) * microseconds[unit]!;
  });
