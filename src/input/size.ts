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

/** All addresses of 48 bits. */
const BYTES_MOST = 2 ** 48;

/** Bytes, from what `size` allows: at most 256T. */
export const bytes = size
  .transform(parseSize)
  .refine((value) => value <= BYTES_MOST, 'must be at most 256T');

/** At least one of them, and at most `most`, which stands in messages as `name`. */
export function bytesUpTo(most: number, name: string) {
  return bytes
    .refine((value) => value > 0, 'must be more than 0')
    .refine((value) => value <= most, `must be at most ${name}`);
}

export const someBytes = bytesUpTo(BYTES_MOST, '256T');

/** What one command, message or packet moves; no device does more at once. */
export const TRANSFER_MOST_BYTES = 2 ** 28;

/** How often something happens in a run of a scenario. */
export const times = z.number().int().min(1).max(1e9);
/** In a second. */
export const rate = z.number().min(1e-3).max(1e9);

const DURATION_MOST_US = 1e12;

/** Microseconds, from `250ns`, `10us`, `1.5ms` or `2s`: at most a million seconds. */
export const duration = z
  .string('must be a time with its unit, like 10us, 1.5ms or 2s')
  .regex(/^\d+(\.\d+)?(ns|us|ms|s)$/, 'must be a time with its unit, like 10us, 1.5ms or 2s')
  .transform((text) => {
    const unit = /[a-z]+$/.exec(text)![0];
    return Number(text.slice(0, -unit.length)) * microseconds[unit]!;
  })
  .refine((us) => us <= DURATION_MOST_US, 'must be at most 1000000s');
