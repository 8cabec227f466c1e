/** Schemas of what stands in several kinds of users' files. */
import { z } from 'zod';
import { parseSize, SIZE_EXPECTED } from './size.js';

const microseconds: Readonly<Record<string, number>> = { ns: 1e-3, us: 1, ms: 1e3, s: 1e6 };

/** Bytes, from a number or a text that `parseSize` takes. */
export const bytes = z
  .union([z.number(), z.string()], `must be ${SIZE_EXPECTED}`)
  .transform((value, context) => {
    const size = parseSize(value);
    if (Number.isNaN(size)) context.addIssue(`must be ${SIZE_EXPECTED}`);
    return size;
  });

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
