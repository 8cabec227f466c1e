/** What `iopf check` has done elsewhere: a check, a look at a user's file, one order. */
import { fileURLToPath } from 'node:url';
import type { JobContext, JobKind } from '../../jobs/job.js';
import { type History, replay } from '../report/history.js';
import { mistakeIn, ScenarioMistake } from '../verify/scenario-mistake.js';
import { Unsound } from '../verify/unsound.js';
import { shippedParts } from '../world/parts.js';
import type { Size } from '../world/scenario-world.js';
import { mendBuiltins } from './builtins.js';
import { type Job, loadDesign, loadScenario, runJob } from './job.js';
import type { Ref, ScenarioReport } from './run-scenario.js';
import { isGrown } from './scale.js';
import { ALL, type Share, split } from './split.js';

export type CheckRequest =
  | { readonly kind: 'job'; readonly job: Job }
  /** Which scenarios and variants a file exports. */
  | { readonly kind: 'list'; readonly module: string }
  | {
      readonly kind: 'replay';
      readonly ref: Ref;
      readonly order: readonly number[];
      readonly variant: Ref | null;
      readonly size: Size | null;
    }
  /** The shares of a scenario's orders; one, where it is of its own size. */
  | { readonly kind: 'split'; readonly ref: Ref; readonly size: Size };

export interface CheckProgress {
  readonly scenario: string;
  readonly states: number;
}

/** What a replay came to. */
export interface ReplayAnswer {
  readonly actors: readonly string[];
  readonly steps: History['steps'];
  readonly violation: {
    readonly row: string;
    readonly invariant: string;
    readonly detail: string;
  } | null;
}

export type CheckAnswer =
  | { readonly kind: 'reports'; readonly reports: readonly ScenarioReport[] }
  | {
      readonly kind: 'exports';
      readonly scenarios: readonly string[];
      readonly variants: readonly string[];
    }
  | { readonly kind: 'replayed'; readonly answer: ReplayAnswer }
  | { readonly kind: 'shares'; readonly shares: readonly Share[] };

/** A user's module is never run in the thread of a command. */
export const checkKind: JobKind<CheckRequest, CheckAnswer, CheckProgress> = {
  name: 'check',
  async run(request, context) {
    const [module = null] = modulesOf(request);
    try {
      const done = await answer(request, module, context);
      checkBuiltins(module);
      return done;
    } catch (error) {
      checkBuiltins(module);
      if (module === null || error instanceof ScenarioMistake) throw error;
      throw mistakeIn(fileURLToPath(module), error) ?? error;
    }
  },
  refusals: { mistake: ScenarioMistake, unsound: Unsound, range: RangeError },
  filesOf: () => [],
  modulesOf,
  withModules(request, at) {
    const moved = (ref: Ref): Ref =>
      ref.module === null ? ref : { ...ref, module: at(ref.module) };
    const movedVariant = (variant: Ref | null) => (variant === null ? null : moved(variant));
    switch (request.kind) {
      case 'list':
        return { ...request, module: at(request.module) };
      case 'split':
        return { ...request, ref: moved(request.ref) };
      case 'replay':
        return { ...request, ref: moved(request.ref), variant: movedVariant(request.variant) };
      case 'job': {
        const { job } = request;
        const scenarios = job.scenarios.map(moved);
        return { kind: 'job', job: { ...job, scenarios, variant: movedVariant(job.variant) } };
      }
    }
  },
  schemas: async () => (await import('./check-schemas.js')).checkSchemas,
};

/** Of scenarios before that of a variant. */
function modulesOf(request: CheckRequest): string[] {
  if (request.kind === 'list') return [request.module];
  const { variant } =
    request.kind === 'job' ? request.job : request.kind === 'split' ? { variant: null } : request;
  const refs = request.kind === 'job' ? request.job.scenarios : [request.ref];
  return [...new Set([...refs, variant].flatMap((ref) => ref?.module ?? []))];
}

async function answer(
  request: CheckRequest,
  module: string | null,
  { progress }: JobContext<CheckProgress>,
): Promise<CheckAnswer> {
  switch (request.kind) {
    case 'job': {
      const reports: ScenarioReport[] = [];
      await runJob(
        request.job,
        (report) => {
          checkBuiltins(module);
          reports.push(report);
        },
        (scenario, states) => progress({ scenario, states }),
      );
      return { kind: 'reports', reports };
    }
    case 'list': {
      const { scenariosIn } = await import('./scenario-file.js');
      const { variantsIn } = await import('./variant-file.js');
      const scenarios = (await scenariosIn(request.module)).map(({ name }) => name);
      const variants = (await variantsIn(request.module)).map(({ name }) => name);
      return { kind: 'exports', scenarios, variants };
    }
    case 'split': {
      const { ref, size } = request;
      const scenario = await loadScenario(ref, size);
      const shares = isGrown(scenario, await loadScenario(ref, null))
        ? split(scenario, shippedParts)
        : [ALL];
      return { kind: 'shares', shares };
    }
    case 'replay': {
      const scenario = await loadScenario(request.ref, request.size);
      const { parts } = await loadDesign(request.variant);
      const { steps, violation } = replay(scenario, parts, request.order);
      const found =
        violation === null
          ? null
          : {
              row: violation.row ?? scenario.rows[0] ?? '',
              invariant: violation.invariant,
              detail: violation.detail,
            };
      const actors = Object.keys(scenario.actors);
      return { kind: 'replayed', answer: { actors, steps, violation: found } };
    }
  }
}

/** Throws `ScenarioMistake`. */
function checkBuiltins(module: string | null): void {
  const changed = mendBuiltins();
  if (changed !== null && module !== null)
    throw new ScenarioMistake(
      `${fileURLToPath(module)} changes ${changed}, with which the engine works, too`,
    );
}
