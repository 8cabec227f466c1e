/** Schemas of what stands in several kinds of users' files. */
import { z } from 'zod';
import { parseSize, SIZE_EXPECTED } from './size.js';
import { parseTime } from './time.js';

/** Bytes, from a number or a text that `parseSize` takes. */
export const bytes = z
  .union([z.number(), z.string()], `must be ${SIZE_EXPECTED}`)
  .transform((value, context) => {
    const size = parseSize(value);
    if (Number.isNaN(size)) context.addIssue(`must be ${SIZE_EXPECTED}`);
    return size;
  });

/** At least one of them, and at most `most`, which stands in messages as `name`. */
export function bytesUpTo(most: number, name: string) {
  return bytes
    .refine((value) => value > 0, 'must be more than 0')
    .refine((value) => value <= most, `must be at most ${name}`);
}

/** At most all addresses of 48 bits. */
export const someBytes = bytesUpTo(2 ** 48, '256T');

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
  .transform((text) => parseTime(text, ['ns', 'us', 'ms', 's']))
  .refine((us) => us <= DURATION_MOST_US, 'must be at most 1000000s');

/**
 * The key `schema` of a kind of file: which format it has. It may be left out; a file of a later
 * format is refused.
 */
export function formatKey<Kind extends string>(kind: Kind) {
  const known = `iopf.${kind}/1` as const;
  return z
    .literal(known, { error: ({ input }) => `is ${String(input)}, and this iopf reads ${known}` })
    .optional();
}
