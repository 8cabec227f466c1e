/** What comes from other machines and from the cache: jobs that make curves, and curves. */
import { z } from 'zod';
import type { CostModel } from '../sim/cost-model.js';
import type { Curve } from '../sim/curve.js';
import type { CurveJob } from './curve-job.js';

const text = z.string();
const amount = z.number().nonnegative();
const bytes = amount.max(2 ** 48);
const us = amount.max(1e12);

/** As it is after its file was read: bytes and microseconds. */
const vm = z.strictObject({
  memory: bytes.min(1),
  boot: z.strictObject({ reads: bytes, touched: bytes, bandwidth: bytes.min(1), latency: us }),
  givenBack: bytes,
  idle: z.strictObject({
    time: us,
    workingSet: bytes,
    iosPerSecond: z.number().min(1e-3).max(1e9),
  }),
});

export const costModel = z.strictObject({
  name: text,
  about: text,
  costs: z.strictObject({
    request: amount,
    handle: amount,
    pageIn: amount,
    map: amount,
    respond: amount,
    extraPage: amount,
    swapIn: amount,
    invalidate: amount,
    iotlbMiss: amount,
    pinPage: amount,
    advise: amount,
  }),
}) satisfies z.ZodType<CostModel>;

const job = z.strictObject({
  name: text,
  source: z.union([
    z.strictObject({ vm }),
    z.strictObject({ scenario: text }),
    z.strictObject({ recording: text }),
    z.strictObject({ memoryCurve: text }),
  ]),
  folder: text,
  digest: text.nullable(),
  policy: text,
  model: costModel,
  seed: z.int().nonnegative(),
  worstPercent: amount.max(100),
}) satisfies z.ZodType<CurveJob>;

export const curveSchema = z.strictObject({
  mappedBytes: amount,
  peakBytes: amount,
  points: z.array(
    z.strictObject({ memoryBytes: amount, slowdownPercent: z.number(), faults: amount }),
  ),
  why: text.nullable(),
}) satisfies z.ZodType<Curve>;

export const curveSchemas = { input: job, result: curveSchema, progress: z.never() };
