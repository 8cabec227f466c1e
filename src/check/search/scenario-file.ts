/** Scenarios of a user: a module that exports them, one by one or in arrays. */
import type { Scenario } from '../world/scenario.js';
import type { Size } from '../world/scenario-world.js';
import { scaledTo } from './scale.js';
import { checkScenario } from './scenario-shape.js';
import { asMistake, exportsOf } from './user-module.js';

/** The scenarios that a module exports; `module` is its URL. Throws `ScenarioMistake`. */
export async function scenariosIn(module: string): Promise<Scenario[]> {
  const scenarios = (await exportsOf(module)).filter(isMeant);
  try {
    checkScenarios(scenarios);
  } catch (error) {
    throw asMistake(error);
  }
  return scenarios;
}

/** A scenario of a user over at least so much, where it says how. Throws `ScenarioMistake`. */
export function checkedAt(scenario: Scenario, size: Size): Scenario {
  try {
    const scaled = scaledTo(scenario, size);
    checkScenario(scaled);
    return scaled;
  } catch (error) {
    throw asMistake(error);
  }
}

function checkScenarios(scenarios: readonly Scenario[]): void {
  const names = new Set<string>();
  for (const each of scenarios) {
    checkScenario(each);
    if (names.has(each.name)) throw new Error(`scenario ${each.name}: another one has this name`);
    names.add(each.name);
  }
}

function isMeant(value: unknown): value is Scenario {
  return typeof value === 'object' && value !== null && 'actors' in value;
}
