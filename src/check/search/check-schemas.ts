/** What comes from other machines: work of a check, and what came of it. */
import { z } from 'zod';
import type { CheckAnswer, CheckProgress, CheckRequest } from './check-job.js';
import type { ScenarioReport } from './run-scenario.js';

const text = z.string();
const count = z.int().nonnegative();
const amount = z.number().nonnegative();
const order = z.array(count).max(1_000_000);

const ref = z.strictObject({ name: text, module: z.url({ protocol: /^file$/ }).nullable() });

const size = z.strictObject({ pages: count.min(1), devices: count.min(1) });
const share = z.strictObject({ prefix: order, times: count.min(1) });

const request = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('job'),
    job: z.strictObject({
      scenarios: z.array(ref),
      variant: ref.nullable(),
      statesMax: count,
      randomSeconds: count,
      seed: count,
      stepsMax: count.min(1).nullable(),
      size: size.nullable(),
      share: share.nullable(),
    }),
  }),
  z.strictObject({ kind: z.literal('list'), module: text }),
  z.strictObject({
    kind: z.literal('replay'),
    ref,
    order,
    variant: ref.nullable(),
    size: size.nullable(),
  }),
  z.strictObject({ kind: z.literal('split'), ref, size }),
]) satisfies z.ZodType<CheckRequest>;

/** The fields of a step, a violation and a report; `iopf check --json` has the same ones. */
export const stepShape = {
  actor: text,
  what: text,
  place: text.nullable(),
  changes: z.array(text),
};
export const violationShape = {
  invariant: text,
  row: text,
  detail: text,
  replay: text,
  seed: count.nullable(),
};
export const reportShape = {
  name: text,
  about: text,
  rows: z.array(text),
  actors: z.array(text),
  pages: count.describe('IOVA pages that it was run with'),
  devices: count,
  scalable: z.boolean().describe('says itself how it is over more pages and devices'),
  variant: text.nullable(),
  shares: count.describe('parts that its orders were split into'),
  orders: amount,
  cut: amount.describe('beginnings of as many steps as the bound, whose orders go on'),
  states: count,
  runs: count,
  stepsKnown: count,
  rounds: count,
  longest: count,
  exhaustive: z.boolean(),
  randomOrders: count,
  replacedCalls: count.nullable(),
  seconds: amount.describe('seconds'),
};

const step = z.strictObject(stepShape);
const report = z.strictObject({
  ...reportShape,
  violations: z.array(z.strictObject({ ...violationShape, steps: z.array(step), order })),
}) satisfies z.ZodType<ScenarioReport>;

const answer = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('reports'), reports: z.array(report) }),
  z.strictObject({
    kind: z.literal('exports'),
    scenarios: z.array(text),
    variants: z.array(text),
  }),
  z.strictObject({ kind: z.literal('shares'), shares: z.array(share) }),
  z.strictObject({
    kind: z.literal('replayed'),
    answer: z.strictObject({
      actors: z.array(text),
      steps: z.array(step),
      violation: z.strictObject({ row: text, invariant: text, detail: text }).nullable(),
    }),
  }),
]) satisfies z.ZodType<CheckAnswer>;

export const checkSchemas = {
  input: request,
  result: answer,
  progress: z.strictObject({ scenario: text, states: count }) satisfies z.ZodType<CheckProgress>,
};
