/**
 * Schemas of files that users write: shipped as JSON Schema for editors (yaml-language-server), and
 * as the tables of docs/scenarios.md.
 */
import { z } from 'zod';
import { machineSchema } from '../../exec/machine/machine-file.js';
import { recordedDeviceSchema } from '../../exec/machine/model-file.js';
import { rulesSchema } from '../../inject/rule-file.js';
import { fleetSchema } from '../../plan/fleet.js';
import { modelSchema } from '../../sim/cost-model.js';
import { scenarioSchema } from '../../sim/scenario.js';

/** Those whose keys docs/scenarios.md has. */
const documented = { scenario: scenarioSchema, fleet: fleetSchema } as const;
const filesOfUsers = {
  ...documented,
  machine: machineSchema,
  model: modelSchema,
  'recorded-device': recordedDeviceSchema,
  rules: rulesSchema,
} as const;

/** By the kind of file, as a user writes it: before units are read. */
export function fileSchemas(): Readonly<Record<string, object>> {
  return jsonSchemasOf(filesOfUsers);
}

function jsonSchemasOf(schemas: Readonly<Record<string, z.ZodType>>): Record<string, object> {
  return Object.fromEntries(
    Object.entries(schemas).map(([kind, schema]) => [
      kind,
      z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }),
    ]),
  );
}

type Shape = z.core.JSONSchema.BaseSchema;

const HEAD = `# Scenarios and fleets: every key

<!-- Written by scripts/scenarios.mjs from the schemas: \`npm run scenarios\`. -->

What a scenario is for: [compare.md](compare.md); a fleet: [plan.md](plan.md). An editor with
yaml-language-server checks a file that begins with a line that names the shipped schema,
\`iopf.scenario.json\` or \`iopf.fleet.json\` in \`dist/schemas\` of the package:

\`\`\`
# yaml-language-server: $schema=/usr/lib/node_modules/iopf/dist/schemas/iopf.scenario.json
\`\`\`

A _size_ is \`4096\`, \`64K\` or \`1G\`, a _time_ \`250ns\`, \`10us\`, \`1.5ms\` or \`2s\`. Keys without a
default must be there, unless they are said to be optional.
`;

/** The text of docs/scenarios.md. */
export function scenarioDocument(): string {
  const sections = Object.entries(jsonSchemasOf(documented)).map(([kind, schema]) => {
    const rows: string[] = [];
    collect(schema as Shape, '', rows);
    return `## ${kind[0]!.toUpperCase()}${kind.slice(1)}

| key | | default | |
|---|---|---|---|
${rows.join('\n')}
`;
  });
  return `${HEAD}\n${sections.join('\n')}`;
}

function collect(schema: Shape, path: string, rows: string[]): void {
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    if (typeof property !== 'object') continue;
    const at = path === '' ? name : `${path}.${name}`;
    const optional = schema.required?.includes(name) !== true && property.default === undefined;
    const standard = optional
      ? '_optional_'
      : property.default === undefined
        ? ''
        : `\`${JSON.stringify(property.default)}\``;
    if (property.const === undefined)
      rows.push(
        `| \`${at}\` | ${typeOf(property)} | ${standard} | ${property.description ?? ''} |`,
      );
    below(property, at, rows);
  }
}

/** What lies in a property: kinds, elements, keys. */
function below(property: Shape, at: string, rows: string[]): void {
  for (const kind of property.oneOf ?? []) {
    const name = (kind.properties?.['kind'] as Shape | undefined)?.const;
    if (name === undefined) continue;
    rows.push(`| **\`${at}.kind: ${String(name)}\`** | | | |`);
    collect(kind, at, rows);
  }
  const { items } = property;
  if (typeof items === 'object' && !Array.isArray(items)) collect(items as Shape, `${at}[]`, rows);
  collect(property, at, rows);
}

function isTime({ pattern }: Shape): boolean {
  return pattern?.includes('ns|us') === true;
}

function typeOf(property: Shape): string {
  const { anyOf, enum: values, items, oneOf, type } = property;
  if (values !== undefined) return values.map((value) => `\`${String(value)}\``).join(', ');
  if (oneOf !== undefined) return 'one of the kinds below';
  if (isTime(property) || anyOf?.some((each) => isTime(each as Shape))) return 'time';
  if (anyOf !== undefined || Array.isArray(type)) return 'size';
  if (type === 'array')
    return `list${typeof items === 'object' && (items as Shape).type === 'string' ? ' of texts' : ''}`;
  if (type === 'object') return 'map';
  if (type === 'string') return 'text';
  if (type !== 'number' && type !== 'integer') return String(type);
  const least = property.minimum ?? property.exclusiveMinimum;
  const most = property.maximum;
  const range =
    least === undefined || most === undefined || most > 2 ** 50 ? '' : `, ${least} to ${most}`;
  return `${type === 'integer' ? 'whole number' : 'number'}${range}`;
}
