/** docs/scenarios.md and the schema for editors (npm test builds first). */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { scenarioDocument } from '../../src/cli/json/file-schemas.js';
import { parseMachine } from '../../src/exec/machine/machine-file.js';
import { parseRuleFile } from '../../src/inject/rule-file.js';

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

describe('a file of a user', () => {
  const text = (path: string): string => readFileSync(path, 'utf8');
  const files: readonly [kind: string, text: string][] = [
    ['scenario', text('examples/network-ring.yaml')],
    ['fleet', text('examples/fleet.yaml')],
    ['machine', /^## Machine file\n\n```yaml\n(.*?)```/ms.exec(text('docs/exec.md'))![1]!],
    ['model', text('models/fast.yaml')],
    ['recorded-device', text('models/devices/nvme.yaml')],
    ['rules', 'rules: ["pin:0/EFAULT"]'],
  ];

  it.each(files)('of the kind %s may say its format, as its shipped schema knows', (kind, yaml) => {
    const schema = z.fromJSONSchema(JSON.parse(text(`dist/schemas/iopf.${kind}.json`)));
    const file = parse(yaml);
    expect(schema.safeParse(file).error).toBeUndefined();
    expect(schema.safeParse({ ...file, schema: `iopf.${kind}/1` }).error).toBeUndefined();
    expect(schema.safeParse({ ...file, schema: `iopf.${kind}/2` }).success).toBe(false);
  });

  it('of a later format is refused as that, whatever else is in it', () => {
    const later = 'schema: iopf.machine/2\nplanets: [mars]\n';
    expect(() => parseMachine(later, 'm.yaml')).toThrow(
      'm.yaml:1: schema: is iopf.machine/2, and this iopf reads iopf.machine/1',
    );
    const rules = 'schema: iopf.rules/1\nrules: [mars]\n';
    expect(() => parseRuleFile(rules, 'r.yaml')).toThrow(/^r\.yaml:2: /);
    expect(() => parseRuleFile(rules.replace('/1', '/7'), 'r.yaml')).toThrow('is iopf.rules/7');
  });
});
