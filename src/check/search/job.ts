/**
 * One piece of work of a check: a scenario, or a variant with the scenarios that are to find it
 * out.
 */
import { fileURLToPath } from 'node:url';
import { type HistoryStep, replay } from '../report/history.js';
import { scenarios as shippedScenarios } from '../scenarios/index.js';
import { variants } from '../variants/index.js';
import { Invariant } from '../verify/violation.js';
import { type Parts, shippedParts } from '../world/parts.js';
import type { Scenario } from '../world/scenario.js';
import type { VariantWatch } from '../world/variant-watch.js';
import type { Found } from './explorer.js';
import { findShortest, partsOf, runRandom } from './find.js';

/** Where a scenario or a variant comes from: shipped, or an export of a file of the user. */
export interface Ref {
  readonly name: string;
  /** URL of the module; null: shipped. */
  readonly module: string | null;
}

export interface Job {
  /** All are run; with a variant, up to the first that finds it out. */
  readonly scenarios: readonly Ref[];
  readonly variant: Ref | null;
  readonly statesMax: number;
  readonly randomSeconds: number;
  readonly seed: number;
}

export interface ViolationReport {
  readonly invariant: string;
  readonly row: string;
  readonly detail: string;
  readonly steps: readonly HistoryStep[];
  readonly order: readonly number[];
  /** Command line that shows it again. */
  readonly replay: string;
  /** Of the random orders; null: found by running every order. */
  readonly seed: number | null;
}

export interface ScenarioReport {
  readonly name: string;
  readonly about: string;
  readonly rows: readonly string[];
  readonly actors: readonly string[];
  readonly variant: string | null;
  readonly orders: number;
  readonly states: number;
  /** Runs from the beginning, each to the end of an order or to where it meets another. */
  readonly runs: number;
  /** Steps that were not run because their outcome was known. */
  readonly stepsKnown: number;
  /**
   * Times that steps led back to a state before them, somebody left out: such orders need not end,
   * and are not counted.
   */
  readonly rounds: number;
  /** The longest order, in steps. */
  readonly longest: number;
  readonly exhaustive: boolean;
  /** Random orders that were run beyond the bound. */
  readonly randomOrders: number;
  readonly seconds: number;
  /** How often methods ran that a user's variant has replaced; null: no user's variant. */
  readonly replacedCalls: number | null;
  readonly violations: readonly ViolationReport[];
}

const MILLISECONDS = 1000;
/** Random orders that are run first, to see that orders end. */
const PROBES = 20;
/** Where they do not: how far a shorter one is looked for. */
const ENDLESS = { stepsMax: 60, statesMax: 5_000 };

export async function loadScenario(ref: Ref): Promise<Scenario | null> {
  if (ref.module === null) return shippedScenarios.find(({ name }) => name === ref.name) ?? null;
  // Not needed, and not loaded, for what ships.
  const { scenariosIn } = await import('./scenario-file.js');
  return (await scenariosIn(ref.module)).find(({ name }) => name === ref.name) ?? null;
}

/** The parts that are checked. */
export interface Design {
  /** Null: all that ships. */
  readonly ref: Ref | null;
  readonly parts: Parts;
  /** Null where no user's variant is checked. */
  readonly watch: VariantWatch | null;
}

export async function loadDesign(ref: Ref | null): Promise<Design> {
  if (ref === null) return { ref, parts: shippedParts, watch: null };
  if (ref.module === null) {
    const shipped = variants.find(({ name }) => name === ref.name)!;
    return { ref, parts: partsOf(shipped), watch: null };
  }
  const { variantsIn } = await import('./variant-file.js');
  const watch = (await variantsIn(ref.module)).find(({ name }) => name === ref.name)!;
  return { ref, parts: watch.parts, watch };
}

export async function runJob(
  job: Job,
  report: (scenario: ScenarioReport) => void,
  progress: (scenario: string, states: number) => void,
): Promise<void> {
  const design = await loadDesign(job.variant);
  for (const ref of job.scenarios) {
    const scenario = (await loadScenario(ref))!;
    const result = runScenario(scenario, ref, design, job, (states) => progress(ref.name, states));
    report(result);
    if (job.variant !== null && result.violations.length !== 0) return;
  }
}

function runScenario(
  scenario: Scenario,
  ref: Ref,
  design: Design,
  job: Job,
  progress: (states: number) => void,
): ScenarioReport {
  const { parts, watch } = design;
  const callsBefore = watch?.calls ?? 0;
  const started = performance.now();
  let probes = PROBES;
  const probe = runRandom(scenario, parts, job.seed, () => probes-- === 0).found;
  const endless = probe?.violation.invariant === Invariant.PROGRESS ? probe : null;
  const bounds = endless === null ? { statesMax: job.statesMax } : ENDLESS;
  // The tests verify what is known of shipped code and scenarios; of others it is verified here.
  const reduce = design.ref === null && ref.module === null;
  const explored = findShortest(scenario, parts, { ...bounds, reduce, progress });
  let { found } = explored;
  let randomOrders = 0;
  let seed: number | null = null;
  if (found === null && endless !== null) {
    found = endless;
    seed = job.seed;
  } else if (found === null && !explored.exhaustive && job.randomSeconds > 0) {
    const end = performance.now() + job.randomSeconds * MILLISECONDS;
    const random = runRandom(scenario, parts, job.seed, () => performance.now() > end);
    randomOrders = random.orders;
    found = random.found;
    if (found !== null) seed = job.seed;
  }
  const { orders, states, runs, stepsKnown, rounds, longest, exhaustive } = explored;
  return {
    name: scenario.name,
    about: scenario.about,
    rows: scenario.rows,
    actors: Object.keys(scenario.actors),
    variant: design.ref?.name ?? null,
    orders,
    states,
    runs,
    stepsKnown,
    rounds,
    longest,
    exhaustive,
    randomOrders,
    seconds: (performance.now() - started) / MILLISECONDS,
    replacedCalls: watch === null ? null : watch.calls - callsBefore,
    violations: found === null ? [] : [describe(scenario, ref, design, found, seed)],
  };
}

function describe(
  scenario: Scenario,
  ref: Ref,
  design: Design,
  { violation, order }: Found,
  seed: number | null,
): ViolationReport {
  const option = design.ref === null ? '' : ` --variant ${wordFor(design.ref)}`;
  return {
    invariant: violation.invariant,
    row: violation.row ?? scenario.rows[0] ?? '',
    detail: violation.detail,
    steps: replay(scenario, design.parts, order).steps,
    order,
    replay: `iopf check ${wordFor(ref)}${option} --order ${order.join(',')}`,
    seed,
  };
}

/** What names it on a command line, as a word for a shell. */
function wordFor({ name, module }: Ref): string {
  if (module === null) return name;
  const word = `${fileURLToPath(module)}#${name}`;
  return /^[\w@%+=:,./#-]*$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
