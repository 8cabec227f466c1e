import { expect, test } from 'vitest';
import { scenarios } from '../../src/check/scenarios/index.js';
import { explore } from '../../src/check/search/explorer.js';
import { shippedParts } from '../../src/check/world/parts.js';
import type { Scenario } from '../../src/check/world/scenario.js';
import { type Canary, canaries } from './canaries.js';
import { iommufdCanaries } from './iommufd-canaries.js';

function isFound({ invariant, parts }: Canary, among: readonly Scenario[]): void {
  const broken = new Set<string>();
  for (const scenario of among) {
    const { found } = explore(scenario, { parts: { ...shippedParts, ...parts }, statesMax: 2_000 });
    if (found === null) continue;
    broken.add(found.violation.invariant);
    if (found.violation.invariant.includes(invariant)) return;
  }
  expect([...broken], `one of these should be about: ${invariant}`).toContain(invariant);
}

test.each(canaries)('is found: $about', (canary) => isFound(canary, scenarios));

const ofIommufd = scenarios.filter(({ world }) => world?.iommufd !== undefined);
test.each(iommufdCanaries)('is found: $about', (canary) => isFound(canary, ofIommufd));
