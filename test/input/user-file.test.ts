import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { duration, rate, someBytes, TRANSFER_MOST_BYTES, times } from '../../src/input/schemas.js';
import { UserError } from '../../src/input/user-error.js';
import { parseUserFile } from '../../src/input/user-file.js';

const disk = z.strictObject({ kind: z.literal('disk'), blocks: z.number() });
const card = z.strictObject({ kind: z.literal('card'), queues: z.number() });
const schema = z.strictObject({
  name: z.string().default('none'),
  devices: z.array(z.discriminatedUnion('kind', [disk, card])).optional(),
  limits: z.preprocess((given) => given, z.strictObject({ pages: z.number() })).optional(),
});

const parse = (...lines: string[]) => parseUserFile(`${lines.join('\n')}\n`, 'f.yaml', schema);

describe('a file that users write', () => {
  test('gives its data, with defaults, and says where things stand in it', () => {
    const file = parse('devices:', '  - kind: disk', '    blocks: 7');
    expect(file.data).toEqual({ name: 'none', devices: [{ kind: 'disk', blocks: 7 }] });
    expect(file.place(['devices', 0, 'blocks'])).toBe('f.yaml:3');
    expect(file.place(['devices', 0])).toBe('f.yaml:2');
    // The key, not what stands below it.
    expect(file.place(['devices'])).toBe('f.yaml:1');
    // What is not there has the place of what it would stand in.
    expect(file.place(['devices', 0, 'queues'])).toBe('f.yaml:2');
    expect(file.place(['limits', 'pages'])).toBe('f.yaml:1');
    expect(file.error([], 'is wrong')).toEqual(new UserError('f.yaml:1: is wrong'));
    expect(parse('# a comment', 'name: x').place([])).toBe('f.yaml:1');
    expect(file.error(['devices', 0, 'kind'], 'is wrong').message).toBe(
      'f.yaml:2: devices.0.kind: is wrong',
    );
  });

  test.each([
    ['at the top', ['name: x', 'nmae: y'], '2: nmae', 'name, devices, limits'],
    [
      'of one kind',
      ['devices:', '- {kind: disk, blocks: 1, x: 2}'],
      '2: devices.0.x',
      'kind, blocks',
    ],
    ['of another', ['devices:', '- kind: card', '  y: 2'], '3: devices.0.y', 'kind, queues'],
    ['behind a transform', ['limits:', '  z: 1'], '2: limits.z', 'pages'],
  ])('a key that nobody knows is named with those that are known: %s', (_, lines, at, allowed) => {
    const key = at.split('.').at(-1)!.replace(/.*: /, '');
    expect(() => parse(...lines)).toThrow(
      `f.yaml:${at}: unknown key "${key}"; allowed here: ${allowed}`,
    );
  });

  test('a value that is wrong is named with its line', () => {
    expect(() => parse('name: x', 'devices:', '- kind: disk', '  blocks: many')).toThrow(
      /^f\.yaml:4: devices\.0\.blocks: /,
    );
  });

  test.each([
    ['two documents', ['name: x', '---', 'name: y'], /^f\.yaml:2: a second YAML document/],
    ['no YAML', ['name: x', 'devices: [1'], /^f\.yaml:\d: Flow sequence in [^\n]*$/],
    ['and no more of it', ['name: x: y'], /^f\.yaml:1: Nested mappings [^\n]* compact mappings$/],
    ['aliases that stand for too much', bomb(), /^f\.yaml: its aliases/],
    ['2,000 aliases, each of the one before', chain(2000), /^f\.yaml: its aliases/],
    ['brackets', ['['.repeat(5000)], /^f\.yaml: is nested too deeply/],
    ['lists', ['- '.repeat(5000)], /^f\.yaml: is nested too deeply/],
    ['maps as keys', ['{'.repeat(5000)], /^f\.yaml: is nested too deeply/],
    ['keys', ['? '.repeat(5000)], /^f\.yaml: is nested too deeply/],
  ])('%s: one line says so', (_, lines, message) => {
    expect(() => parse(...lines)).toThrow(UserError);
    expect(() => parse(...lines)).toThrow(message);
  });
});

test('a file of a thousand values that lie a hundred lists deep is read', () => {
  const nested = (depth: number) => `${'['.repeat(depth)}1${',1'.repeat(999)}${']'.repeat(depth)}`;
  const lists = (depth: number) => parseUserFile(nested(depth), 'f.yaml', z.any()).data;
  expect(lists(99).flat(98)).toEqual(Array(1000).fill(1));
  expect(() => lists(100)).toThrow('f.yaml: is nested too deeply');
});

/** Each line is ten of the one before it. */
function bomb(): string[] {
  const lines = ['a0: &a0 x'];
  for (let i = 1; i < 10; i++) lines.push(`a${i}: &a${i} [${`*a${i - 1},`.repeat(10)}]`);
  return lines;
}

/** Each line is a list of the one before it, by the same name. */
function chain(length: number): string[] {
  return Array.from({ length }, (_, i) => `a${i}: &a [${i === 0 ? 'x' : '*a'}]`);
}

describe('values', () => {
  test.each([
    ['250ns', 0.25],
    ['10us', 10],
    ['1.5ms', 1500],
    ['2s', 2e6],
    ['1000000s', 1e12],
  ])('%s is %d microseconds', (text, us) => {
    expect(duration.parse(text)).toBe(us);
  });

  test.each(['1000001s', '1000000000001us', '5', '5m', '.5s', '-1s', '1 s'])(
    '%s is no duration',
    (text) => {
      expect(duration.safeParse(text).success).toBe(false);
    },
  );

  test.each([
    ['bytes', someBytes, [1, '256T'], [0, '257T']],
    ['how often', times, [1, 1e9], [0, 1.5, 1e9 + 1]],
    ['a rate', rate, [1e-3, 1e9], [0, 1e9 + 1]],
  ] as const)('%s have bounds', (_, of, good, bad) => {
    expect(good.map((value) => of.safeParse(value).success)).toEqual(good.map(() => true));
    expect(bad.map((value) => of.safeParse(value).success)).toEqual(bad.map(() => false));
    expect(TRANSFER_MOST_BYTES).toBe(256 * 1024 * 1024);
  });
});
