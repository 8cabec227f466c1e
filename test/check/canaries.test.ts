import { expect, test } from 'vitest';
import { scenarios } from '../../src/check/scenarios/index.js';
import { explore } from '../../src/check/search/explorer.js';
import { shippedParts } from '../../src/check/world/parts.js';
import { canaries } from './canaries.js';

test.each(canaries)('is found: $about', ({ invariant, parts }) => {
  const broken = new Set<string>();
  for (const scenario of scenarios) {
    const { found } = explore(scenario, { parts: { ...shippedParts, ...parts }, statesMax: 2_000 });
    if (found === null) continue;
    broken.add(found.violation.invariant);
    if (found.violation.invariant.includes(invariant)) return;
  }
  expect([...broken], `one of these should be about: ${invariant}`).toContain(invariant);
});
