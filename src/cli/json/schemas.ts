/**
 * Schemas of what `--json` writes, one for each command. They are shipped as JSON Schema
 * (`dist/schemas`); the commands themselves do not load this.
 */
import { z } from 'zod';
import { kernelVersions } from '../../abi/kernel.js';
import type { Coverage } from '../../check/report/coverage.js';
import { reportShape, stepShape, violationShape } from '../../check/search/check-schemas.js';
import type { ScenarioReport } from '../../check/search/run-scenario.js';
import { targets } from '../../conformance/conformance.js';
import { refusalReasons } from '../../exec/incidents/refusal.js';
import type { RunSummary } from '../../exec/run/summary.js';
import { type PointName, points } from '../../inject/points.js';
import type { Plan } from '../../plan/plan.js';
import { glossary } from '../../report/glossary.js';
import type { ServeSummary } from '../../serve/serve.js';
import type { Comparison } from '../../sim/compare.js';
import { outcomeNames, type Sweep } from '../sweep-outcome.js';
import { type DocumentHead, type DocumentKind, schemaNames } from './document.js';

const text = z.string();
const count = z.number().int().nonnegative();
const bytes = count.describe('bytes');
const amount = z.number().nonnegative();
const seconds = amount.describe('seconds');
const percent = z.number().describe('percent');

const head = <Kind extends DocumentKind>(kind: Kind) => ({
  schema: z.literal(schemaNames[kind]),
  version: text.describe('of iopf'),
  arguments: z.array(text).describe('the words of the command line behind iopf'),
  host: z.object({ kernel: text, node: text, architecture: text }),
});

const place = { device: text.describe('PCI address'), kind: text };
/** What the engine's counters say (CounterSummary). */
const counters = {
  mappedBytesPeak: bytes,
  pinnedBytesPeak: bytes,
  residentBytesPeak: bytes,
  faults: count,
  pagesFaultedIn: count,
  pagesPremapped: count,
  invalidations: count,
  pagesInvalidated: count,
  pagesReclaimed: count,
  dmaBytesRead: bytes,
  dmaBytesWritten: bytes,
  faultLatencyUs: z.object({
    min: amount,
    p50: amount,
    p99: amount,
    max: amount,
    buckets: z.record(text, count),
  }),
};

const run = {
  verdict: text.describe('what the run came to, in a sentence'),
  hint: text.nullable().describe('what is worth a try'),
  program: text,
  exitCode: z.number().int().nullable().describe('null after a signal'),
  signal: text.nullable(),
  iopf: z.enum(['auto', 'ask', 'off']),
  premap: z.number().int().min(1),
  kernel: z.enum(kernelVersions).describe('the Linux version whose VFIO ABI the program saw'),
  devices: z.array(z.object({ kind: text, address: text, options: z.record(text, text) })),
  ...counters,
  mappedBytesEnd: bytes.nullable(),
  reclaimScans: count,
  reclaimScanSeconds: seconds,
  rssBytesBefore: bytes.nullable(),
  rssBytesPeak: bytes.nullable(),
  rssBytesEnd: bytes.nullable(),
  swapBytesPeak: bytes.nullable(),
  swapBytesEnd: bytes.nullable(),
  interceptedCalls: count,
  vfioOpens: count,
  deviceOpens: count,
  vfioProgram: text.nullable().describe('the program that opened a file of VFIO first'),
  refusedAccesses: count,
  refused: z.array(
    z.object({
      ...place,
      iova: count,
      access: z.enum(['read', 'write']),
      reason: z.enum(refusalReasons),
      count,
      firstAtSeconds: seconds,
      nearest: text.nullable(),
      asker: text.nullable(),
    }),
  ),
  lostInterrupts: z.array(
    z.object({ ...place, interrupt: z.enum(['INTx', 'MSI', 'MSI-X']), vector: count, count }),
  ),
  failedCalls: z.array(z.object({ call: text, error: text, count })),
  injected: z.array(
    z.object({
      rule: text,
      point: z.enum(Object.keys(points) as PointName[]),
      count: count.describe('faults that the rule made'),
      passed: count,
    }),
  ),
  model: text.nullable().describe('of --model'),
  stallSecondsLive: seconds.nullable(),
  stallSecondsPriced: seconds.nullable(),
  seed: count.nullable(),
  again: text.nullable(),
  wallSeconds: seconds,
};

const execSchema = z.object({ ...head('exec'), ...run }) satisfies z.ZodType<
  DocumentHead<'exec'> & RunSummary
>;

const serveSchema = z.object({
  ...head('serve'),
  kind: text,
  options: z.record(text, text),
  clients: count,
  requests: count,
  dmaMessages: count.describe('DMA_READ and DMA_WRITE messages to clients'),
  interrupts: count,
  premap: run.premap,
  ...counters,
  refusedAccesses: count,
  refused: run.refused,
  lostInterrupts: run.lostInterrupts,
  wallSeconds: seconds,
}) satisfies z.ZodType<DocumentHead<'serve'> & ServeSummary>;

const matrixSchema = z.object({
  ...head('matrix'),
  runs: z.array(
    z.object({
      kernel: run.kernel,
      iopf: run.iopf,
      exitCode: count,
      run: execSchema.nullable().describe('what --json of that run has; null: nothing ran'),
    }),
  ),
});

const outcomes = z.enum(outcomeNames);
const sweepSchema = z.object({
  ...head('sweep'),
  program: text,
  limitSeconds: seconds,
  points: z.array(z.object({ rule: text, passed: count.describe('in the run without a fault') })),
  runs: z.array(
    z.object({
      rule: text,
      outcome: outcomes,
      how: text.describe('how the run ended, in words'),
      exitCode: count,
      seconds,
      said: text.describe('the end of what the program and the check wrote'),
      again: text.describe('the command line that does this run again'),
    }),
  ),
  found: count.describe('runs that did not end well or with an error of the program'),
}) satisfies z.ZodType<DocumentHead<'sweep'> & Sweep & { found: number }>;

const published = z.object({
  messageBytes: bytes,
  premapPages: count,
  sends: count,
  publishedFaults: amount,
  faults: count,
  publishedSlowdownPercent: percent,
  slowdownPercent: percent,
});
const policy = { input: text, policy: text };
const compareSchema = z.object({
  ...head('compare'),
  runs: z.array(
    z.object({
      ...policy,
      model: text,
      seed: count,
      mappedBytesPeak: bytes,
      pinnedBytesPeak: bytes,
      residentBytesPeak: bytes,
      residentBytesMean: amount.describe('bytes'),
      faults: count,
      pagesFaultedIn: count,
      pagesNeverUsed: count,
      stallSeconds: seconds,
      slowdownPercent: percent,
      rampSeconds: seconds,
      invalidations: count,
    }),
  ),
  impossible: z.array(z.object({ ...policy, why: text })).exactOptional(),
  published: z.array(published).exactOptional(),
  publishedHostSva: z.array(published).exactOptional(),
  publishedCosts: z
    .array(
      z.object({
        model: text,
        figure: text,
        unit: z.enum(['s', 'GiB/s']),
        publishedLow: amount,
        publishedHigh: amount,
        byModel: amount,
        residualPercent: percent,
      }),
    )
    .exactOptional(),
  overcommit: z
    .array(
      z.object({
        ...policy,
        model: text,
        vms: count,
        slowdownBoundPercent: percent,
        hostBytes: bytes.nullable(),
        slowdownPercent: percent.nullable(),
        from: z.enum(['runs', 'curves']),
        closestPercent: percent.nullable().exactOptional(),
        fits: z
          .object({
            hostBytes: bytes,
            vms: count,
            slowdownPercent: percent.nullable(),
            curve: z.array(z.object({ vms: count, slowdownPercent: percent })),
          })
          .exactOptional(),
      }),
    )
    .exactOptional(),
}) satisfies z.ZodType<DocumentHead<'compare'> & Comparison>;

const hostCount = z
  .object({ mean: amount, low: amount, high: amount, most: count })
  .nullable()
  .describe('hosts over the trials; low and high: of the mean, at 95 % confidence');
const planSchema = z.object({
  ...head('plan'),
  fleet: text,
  model: text,
  machines: count,
  slowdownBoundPercent: percent,
  percentile: percent,
  seed: count,
  trials: count,
  policies: z.array(
    z.object({
      policy: text,
      classes: z.array(
        z.object({
          name: text,
          count,
          mappedBytes: bytes,
          bytes: bytes.nullable(),
          leastSlowdownPercent: percent.nullable(),
        }),
      ),
      lowerBound: count.nullable(),
      firstFit: hostCount,
      bestFit: hostCount,
      typicalHost: z.record(text, count).nullable(),
      memoryUsedPercent: percent.nullable(),
      bill: z.object({ hosts: count, memoryBytes: bytes, price: amount.nullable() }).nullable(),
      why: text.nullable(),
    }),
  ),
  curves: z.array(
    z.object({
      name: text,
      policy: text,
      seed: count,
      points: z.array(z.object({ memoryBytes: bytes, slowdownPercent: percent, faults: count })),
    }),
  ),
}) satisfies z.ZodType<DocumentHead<'plan'> & Plan>;

const checkSchema = z.object({
  ...head('check'),
  scenarios: z.array(
    z.object({
      ...reportShape,
      violations: z.array(
        z.object({
          ...violationShape,
          steps: z.array(z.object(stepShape)),
          order: z.array(count),
        }),
      ),
    }),
  ),
  seconds,
  coverage: z
    .object({
      bound: z.object({
        pages: count.nullable(),
        devices: count.nullable(),
        steps: count.nullable().describe('after which orders were cut'),
      }),
      notScaled: z.array(text).describe('scenarios that were run as they are'),
      cut: amount.describe('beginnings of so many steps whose orders go on, over all scenarios'),
    })
    .nullable()
    .describe('of --bound; null: without'),
}) satisfies z.ZodType<
  DocumentHead<'check'> & {
    scenarios: readonly ScenarioReport[];
    seconds: number;
    coverage: Coverage | null;
  }
>;

const conformanceSchema = z.object({
  ...head('conformance'),
  against: z.enum(targets).describe('whose answers were looked at'),
  passed: count.describe('cases'),
  failed: count.describe('cases'),
  skipped: count.describe('cases'),
  seconds,
  topics: z.array(
    z.object({
      topic: text,
      kernel: z.enum(kernelVersions).describe('whose answers were expected'),
      cases: z.array(
        z.object({
          name: text,
          steps: count,
          result: z.enum(['passed', 'failed', 'skipped']),
          why: text.nullable().describe('it was skipped'),
          differences: z.array(
            z.object({
              step: count.describe('from 0'),
              asked: text,
              expected: text,
              came: text,
            }),
          ),
        }),
      ),
    }),
  ),
}) satisfies z.ZodType<DocumentHead<'conformance'>>;

const versionSchema = z.object(head('version'));

/** By the kind of document. */
export const schemas = {
  exec: execSchema,
  matrix: matrixSchema,
  sweep: sweepSchema,
  serve: serveSchema,
  compare: compareSchema,
  plan: planSchema,
  check: checkSchema,
  conformance: conformanceSchema,
  version: versionSchema,
} as const;

/** The same as JSON Schema (draft 2020-12): what is not named may be there, too. */
export function jsonSchemas(): Readonly<Record<string, object>> {
  return Object.fromEntries(
    Object.entries(schemas).map(([kind, schema]) => [
      kind,
      z.toJSONSchema(schema, { io: 'input', override: ({ jsonSchema }) => describe(jsonSchema) }),
    ]),
  );
}

/** Gives an object's properties the meaning of their names. */
function describe({ properties = {} }: z.core.JSONSchema.BaseSchema): void {
  for (const [name, property] of Object.entries(properties))
    if (typeof property === 'object' && glossary[name] !== undefined)
      property.description = glossary[name];
}
