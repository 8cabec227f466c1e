/** What comes from other machines: tasks of a comparison, and their results. */
import { z } from 'zod';
import type { OvercommitRow } from './overcommit.js';
import type { RunOutcome } from './run.js';
import type { Task, TaskResult } from './task.js';

const text = z.string();
const amount = z.number().nonnegative();
const percent = z.number();

const source = z.union([text, z.strictObject({ name: text, text })]);
const task = z.strictObject({
  source,
  policy: text,
  model: source,
  seed: z.int().nonnegative(),
  published: z
    .strictObject({ list: z.enum(['vfioIopf', 'hostSva']), index: z.int().nonnegative() })
    .nullable(),
  leastMemory: z.boolean(),
  withMap: z.boolean(),
}) satisfies z.ZodType<Task>;

const mapRows = <Cell extends z.ZodType>(cell: Cell) => ({
  rowBytes: amount,
  rows: z.array(z.strictObject({ iova: amount, cells: z.array(cell) })),
});
const mapCell = z.strictObject({
  step: amount,
  touched: amount,
  faulted: amount,
  mapped: amount,
  taken: amount,
});
const mappingCell = z.strictObject({ step: amount, added: amount, removed: amount });

const timelineStep = z.strictObject({
  seconds: amount,
  mappedPages: amount,
  residentPages: amount,
  pinnedPages: amount,
  faults: amount,
  reclaimed: amount,
  invalidations: amount,
  stalled: amount,
});

const outcome = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('done'),
    row: z.strictObject({
      input: text,
      policy: text,
      model: text,
      seed: amount,
      mappedBytesPeak: amount,
      pinnedBytesPeak: amount,
      residentBytesPeak: amount,
      residentBytesMean: amount,
      faults: amount,
      pagesFaultedIn: amount,
      pagesNeverUsed: amount,
      stallSeconds: amount,
      slowdownPercent: percent,
      rampSeconds: amount,
      invalidations: amount,
    }),
    detail: z.strictObject({
      timeline: z.array(timelineStep),
      map: z
        .strictObject({
          stepSeconds: amount,
          ...mapRows(mapCell),
          mappings: z.strictObject(mapRows(mappingCell)),
        })
        .nullable(),
      latency: z.record(text, amount),
      accesses: amount,
      machines: z.array(z.strictObject({ busy: amount, pinned: amount })),
      seconds: amount,
      refused: amount,
      hostBytesPeak: amount,
    }),
  }),
  z.strictObject({ kind: z.literal('impossible'), input: text, policy: text, why: text }),
]) satisfies z.ZodType<RunOutcome>;

const overcommitRow = z.strictObject({
  input: text,
  policy: text,
  model: text,
  vms: amount,
  slowdownBoundPercent: percent,
  hostBytes: amount.nullable(),
  slowdownPercent: percent.nullable(),
  from: z.enum(['runs', 'curves']),
  closestPercent: percent.nullable().exactOptional(),
  fits: z
    .strictObject({
      hostBytes: amount,
      vms: amount,
      slowdownPercent: percent.nullable(),
      curve: z.array(z.strictObject({ vms: amount, slowdownPercent: percent })),
    })
    .exactOptional(),
}) satisfies z.ZodType<OvercommitRow>;

export const taskSchemas = {
  input: task,
  result: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('run'), outcome }),
    z.strictObject({ kind: z.literal('least-memory'), row: overcommitRow }),
  ]) satisfies z.ZodType<TaskResult>,
  progress: z.number().min(0).max(1),
};
