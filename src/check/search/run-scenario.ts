/** Runs one scenario against one design, within bounds, and reports what came of it. */
import { fileURLToPath } from 'node:url';
import { type HistoryStep, replay } from '../report/history.js';
import { Invariant } from '../verify/violation.js';
import { type Parts, shippedParts } from '../world/parts.js';
import type { Scenario } from '../world/scenario.js';
import type { Size } from '../world/scenario-world.js';
import type { VariantWatch } from '../world/variant-watch.js';
import type { Found } from './exploration.js';
import { findShortest, runRandom } from './find.js';
import { sizeOf } from './scale.js';
import { ALL, type Share } from './split.js';

/** Where a scenario or a variant comes from: shipped, or an export of a file of the user. */
export interface Ref {
  readonly name: string;
  /** URL of the module; null: shipped. */
  readonly module: string | null;
}

/** The parts that are checked. */
export interface Design {
  /** Null: all that ships. */
  readonly ref: Ref | null;
  readonly parts: Parts;
  /** Null where no user's variant is checked. */
  readonly watch: VariantWatch | null;
}

export interface Bounds {
  readonly statesMax: number;
  readonly randomSeconds: number;
  readonly seed: number;
  /** Orders are cut after so many steps; null: they are run to their ends. */
  readonly stepsMax: number | null;
  /** Scenarios that can be are over at least so much; null: as they are. */
  readonly size: Size | null;
}

export interface ViolationReport {
  readonly invariant: string;
  readonly row: string;
  readonly detail: string;
  readonly steps: readonly HistoryStep[];
  readonly order: readonly number[];
  /** Command line that shows it again; empty where the scenario is in no file. */
  readonly replay: string;
  /** Of the random orders; null: found by running every order. */
  readonly seed: number | null;
}

export interface ScenarioReport {
  readonly name: string;
  readonly about: string;
  readonly rows: readonly string[];
  readonly actors: readonly string[];
  /** IOVA pages and devices that it was run with. */
  readonly pages: number;
  readonly devices: number;
  /** It says itself how it is over more of them. */
  readonly scalable: boolean;
  readonly variant: string | null;
  /** Parts that its orders were split into; with several, states are counted in each. */
  readonly shares: number;
  readonly orders: number;
  /** Beginnings of `stepsMax` steps whose orders go on: what is behind them was not run. */
  readonly cut: number;
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

/**
 * Every order of a scenario, and random ones beyond the bound. `ref` null: it is in no file. Throws
 * `ScenarioMistake`.
 */
export function runScenario(
  scenario: Scenario,
  ref: Ref | null,
  design: Design,
  bounds: Bounds,
  progress: (states: number) => void = () => {},
  share: Share = ALL,
): ScenarioReport {
  const { parts, watch } = design;
  const { prefix, times } = share;
  const limit = bounds.stepsMax === null ? {} : { stepsMax: bounds.stepsMax };
  const callsBefore = watch?.calls ?? 0;
  const started = performance.now();
  let probes = PROBES;
  const probe = runRandom(scenario, parts, bounds.seed, () => probes-- === 0).found;
  const endless = probe?.violation.invariant === Invariant.PROGRESS ? probe : null;
  const ends = endless === null ? { statesMax: bounds.statesMax, ...limit } : ENDLESS;
  // The tests verify what is known of shipped code and scenarios; of others it is verified here.
  const reduce = parts === shippedParts && ref?.module === null;
  const explored = findShortest(scenario, parts, { ...ends, prefix, reduce, progress });
  let { found } = explored;
  /** What was not run is more than what the bound cuts. */
  const isLeftOut = explored.endedEarly || (bounds.stepsMax === null && !explored.exhaustive);
  let randomOrders = 0;
  let seed: number | null = null;
  if (found === null && endless !== null) {
    found = endless;
    seed = bounds.seed;
  } else if (found === null && isLeftOut && bounds.randomSeconds > 0) {
    const end = performance.now() + bounds.randomSeconds * MILLISECONDS;
    const stop = () => performance.now() > end;
    const random = runRandom(scenario, parts, bounds.seed, stop, { prefix, ...limit });
    randomOrders = random.orders;
    found = random.found;
    if (found !== null) seed = bounds.seed;
  }
  const { orders, cut, states, runs, stepsKnown, rounds, longest, exhaustive } = explored;
  return {
    name: scenario.name,
    about: scenario.about,
    rows: scenario.rows,
    actors: Object.keys(scenario.actors),
    ...sizeOf(scenario),
    scalable: scenario.scaled !== undefined,
    variant: design.ref?.name ?? null,
    shares: 1,
    orders: orders * times,
    cut: cut * times,
    states,
    runs,
    stepsKnown,
    rounds: rounds * times,
    longest,
    exhaustive,
    randomOrders,
    seconds: (performance.now() - started) / MILLISECONDS,
    replacedCalls: watch === null ? null : watch.calls - callsBefore,
    violations: found === null ? [] : [describe(scenario, ref, design, bounds.size, found, seed)],
  };
}

function describe(
  scenario: Scenario,
  ref: Ref | null,
  design: Design,
  size: Size | null,
  { violation, order }: Found,
  seed: number | null,
): ViolationReport {
  const option = design.ref === null ? '' : ` --variant ${wordFor(design.ref)}`;
  const { pages, devices } = sizeOf(scenario);
  const isScaled = size !== null && scenario.scaled !== undefined;
  const bound = isScaled ? ` --bound pages=${pages},devices=${devices}` : '';
  return {
    invariant: violation.invariant,
    row: violation.row ?? scenario.rows[0] ?? '',
    detail: violation.detail,
    steps: replay(scenario, design.parts, order).steps,
    order,
    replay:
      ref === null ? '' : `iopf check ${wordFor(ref)}${option}${bound} --order ${order.join(',')}`,
    seed,
  };
}

/** What names it on a command line, as a word for a shell. */
function wordFor({ name, module }: Ref): string {
  if (module === null) return name;
  const word = `${fileURLToPath(module)}#${name}`;
  return /^[\w@%+=:,./#-]*$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
