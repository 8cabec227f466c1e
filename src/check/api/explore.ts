/** One scenario, in this thread: for test suites. */
import { formatTimeline } from '../report/timeline.js';
import { runScenario, type ViolationReport } from '../search/run-scenario.js';
import { checkScenario } from '../search/scenario-shape.js';
import { watchVariant } from '../search/variant-shape.js';
import { shippedParts, type Variant } from '../world/parts.js';
import type { Scenario } from './scenario.js';

export interface ExploreOptions {
  /** A design instead of the one that ships. */
  readonly variant?: Variant;
  /** States at most; 2,000,000 unless given. */
  readonly statesMax?: number;
  /** How long random orders are run beyond that; 0 unless given. */
  readonly randomSeconds?: number;
  /** Of random orders; 1 unless given. */
  readonly seed?: number;
}

export interface ExploredStep {
  readonly actor: string;
  /** What the actor was about to do: an operation, or where it goes on. */
  readonly what: string;
  /** What is another than before. */
  readonly changes: readonly string[];
}

export interface Exploration {
  /** Orders of steps that were run, or met one that was. */
  readonly orders: number;
  readonly states: number;
  /** No order was left out. */
  readonly exhaustive: boolean;
  /** Random orders that were run beyond the bound. */
  readonly randomOrders: number;
  /** How often methods of the variant ran: where none did, nothing is known of it. Null: none. */
  readonly variantCalls: number | null;
  /** Of the shortest order that breaks something. */
  readonly violation: null | {
    readonly invariant: string;
    /** Of docs/series.md. */
    readonly row: string;
    readonly detail: string;
    /** Numbers of actors, as `iopf check --order` takes them. */
    readonly order: readonly number[];
    readonly steps: readonly ExploredStep[];
    /** All of it, with a column for each actor. */
    readonly text: string;
  };
}

/** Runs a scenario in every order. Throws an Error where it, or the variant, is written wrong. */
export function explore(scenario: Scenario, options: ExploreOptions = {}): Exploration {
  const { randomSeconds = 0, seed = 1, statesMax = 2_000_000, variant } = options;
  checkScenario(scenario);
  const watch = variant === undefined ? null : watchVariant(variant);
  const report = runScenario(
    scenario,
    null,
    { ref: null, parts: watch?.parts ?? shippedParts, watch },
    { randomSeconds, seed, statesMax, stepsMax: null, size: null },
  );
  const { exhaustive, orders, randomOrders, replacedCalls, states } = report;
  const [found] = report.violations;
  return {
    orders,
    states,
    exhaustive,
    randomOrders,
    variantCalls: replacedCalls,
    violation: found === undefined ? null : violationOf(found, report.actors),
  };
}

function violationOf(
  { detail, invariant, order, row, steps }: ViolationReport,
  actors: readonly string[],
): Exploration['violation'] {
  const text = `${row}: broken: ${invariant}\n${detail}\n${formatTimeline(actors, { steps })}`;
  return { invariant, row, detail, order, steps, text };
}
