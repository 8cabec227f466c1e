/** docs/scenarios.md and the schema for editors (npm test builds first). */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { scenarioDocument } from '../../src/cli/json/file-schemas.js';

const shipped = z.fromJSONSchema(
  JSON.parse(readFileSync('dist/schemas/iopf.scenario.json', 'utf8')),
);

describe('the keys of scenarios', () => {
  it('are those of docs/scenarios.md: npm run scenarios', () => {
    expect(readFileSync('docs/scenarios.md', 'utf8')).toBe(scenarioDocument());
  });

  it('are known to the shipped schema, which takes every example and no misspelt key', () => {
    const scenarios = readdirSync('examples').filter((name) => name.endsWith('.yaml'));
    for (const name of scenarios) {
      const scenario = parse(readFileSync(`examples/${name}`, 'utf8'));
      if (scenario.classes !== undefined) continue;
      expect(shipped.safeParse(scenario).error, name).toBeUndefined();
      expect(shipped.safeParse({ ...scenario, modle: 'fast' }).success).toBe(false);
    }
  });
});
