/**
 * One piece of work of a check: a scenario, or a variant with the scenarios that are to find it
 * out.
 */
import { scenarios as shippedScenarios } from '../scenarios/index.js';
import { variants } from '../variants/index.js';
import { shippedParts } from '../world/parts.js';
import type { Scenario } from '../world/scenario.js';
import type { Size } from '../world/scenario-world.js';
import { partsOf } from './find.js';
import {
  type Bounds,
  type Design,
  type Ref,
  runScenario,
  type ScenarioReport,
} from './run-scenario.js';
import { scaledTo } from './scale.js';
import { ALL, type Share } from './split.js';

export interface Job extends Bounds {
  /** All are run; with a variant, up to the first that finds it out. */
  readonly scenarios: readonly Ref[];
  readonly variant: Ref | null;
  /** Of the orders of its one scenario; null: all orders of each. */
  readonly share: Share | null;
}

/** At least of a size, where it can be. Throws `ScenarioMistake`. */
export async function loadScenario(ref: Ref, size: Size | null): Promise<Scenario> {
  const scenario = (await findScenario(ref))!;
  if (size === null) return scenario;
  if (ref.module === null) return scaledTo(scenario, size);
  const { checkedAt } = await import('./scenario-file.js');
  return checkedAt(scenario, size);
}

async function findScenario(ref: Ref): Promise<Scenario | null> {
  if (ref.module === null) return shippedScenarios.find(({ name }) => name === ref.name) ?? null;
  // Not needed, and not loaded, for what ships.
  const { scenariosIn } = await import('./scenario-file.js');
  return (await scenariosIn(ref.module)).find(({ name }) => name === ref.name) ?? null;
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
    const scenario = await loadScenario(ref, job.size);
    const told = (states: number): void => progress(ref.name, states);
    const result = runScenario(scenario, ref, design, job, told, job.share ?? ALL);
    report(result);
    if (job.variant !== null && result.violations.length !== 0) return;
  }
}
