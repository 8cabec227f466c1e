/** What was published about costs of a model, and what the model says of the same. */
import { z } from 'zod';
import { duration, someBytes } from '../input/schemas.js';

const GIB = 2 ** 30;

/** Exactly one of `time`, `gibPerSecond` and `range` was published. */
export const publishedCost = z.strictObject({
  figure: z.string().min(1).describe('what was measured'),
  costs: z
    .record(z.string(), z.number().positive())
    .describe('how often the measured thing pays each cost of the model'),
  bytes: someBytes.optional().describe('how much memory it moves'),
  gibPerSecondWithout: z
    .number()
    .positive()
    .optional()
    .describe('the published rate without these costs'),
  time: duration.optional(),
  gibPerSecond: z.number().positive().optional().describe('the published rate with these costs'),
  range: z.tuple([duration, duration]).optional().describe('where no single figure is known'),
  source: z.string().min(1),
});

export type PublishedCost = z.output<typeof publishedCost>;

/** A published figure beside the model's. */
export interface CostComparison {
  readonly model: string;
  readonly figure: string;
  readonly unit: 's' | 'GiB/s';
  /** Two of a range, else the same. */
  readonly publishedLow: number;
  readonly publishedHigh: number;
  readonly byModel: number;
  /** Of the published figure; of a range: 0 within it, else of its nearer end. */
  readonly residualPercent: number;
}

/** What is wrong with a published figure, or null. */
export function costMistake(
  cost: PublishedCost,
  known: Readonly<Record<string, unknown>>,
): string | null {
  const { bytes, costs, gibPerSecond, gibPerSecondWithout, range, time } = cost;
  const unknown = Object.keys(costs).find((name) => !Object.hasOwn(known, name));
  if (unknown !== undefined) return `names a cost that is none: ${unknown}`;
  if ([time, gibPerSecond, range].filter((each) => each !== undefined).length !== 1)
    return 'needs exactly one of time, gibPerSecond and range';
  if ((gibPerSecond ?? gibPerSecondWithout) !== undefined && bytes === undefined)
    return 'needs bytes where it has a rate';
  return null;
}

/** `costs` are the model's, in microseconds. */
export function besideModel(
  model: string,
  costs: Readonly<Record<string, number>>,
  published: PublishedCost,
): CostComparison {
  const { bytes = 0, figure, gibPerSecond, gibPerSecondWithout, range, time = 0 } = published;
  let seconds = gibPerSecondWithout === undefined ? 0 : bytes / GIB / gibPerSecondWithout;
  for (const [name, times] of Object.entries(published.costs))
    seconds += (times * costs[name]!) / 1e6;
  const isRate = gibPerSecond !== undefined;
  const byModel = isRate ? bytes / GIB / seconds : seconds;
  const [low, high] = isRate
    ? [gibPerSecond, gibPerSecond]
    : (range ?? [time, time]).map((us) => us / 1e6);
  const nearest = Math.min(Math.max(byModel, low!), high!);
  return {
    model,
    figure,
    unit: isRate ? 'GiB/s' : 's',
    publishedLow: low!,
    publishedHigh: high!,
    byModel: Number(byModel.toPrecision(6)),
    residualPercent: Number(((100 * (byModel - nearest)) / nearest).toFixed(2)) + 0,
  };
}
