/** Scenarios at another size than their own. */
import type { Scenario } from '../world/scenario.js';
import type { Size } from '../world/scenario-world.js';
import { DEFAULT_PAGES } from '../world/world-options.js';

export function sizeOf({ world }: Pick<Scenario, 'world'>): Size {
  return { pages: world?.pages ?? DEFAULT_PAGES, devices: world?.devices?.length ?? 1 };
}

/** At least of a size; as it is where it does not say how it grows. Never below its own size. */
export function scaledTo(scenario: Scenario, size: Size): Scenario {
  if (scenario.scaled === undefined) return scenario;
  const own = sizeOf(scenario);
  const pages = Math.max(own.pages, size.pages);
  const devices = Math.max(own.devices, size.devices);
  return { ...scenario, ...scenario.scaled({ pages, devices }) };
}

export function isGrown(scenario: Scenario, own: Scenario): boolean {
  const size = sizeOf(scenario);
  const { pages, devices } = sizeOf(own);
  return size.pages !== pages || size.devices !== devices;
}
