/** Modules of users that define devices: what is wrong with one is told with its place. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { findModules } from '../../src/exec/module/find.js';
import { loadModel, moduleMistake } from '../../src/exec/module/load.js';
import { kindOf } from '../../src/kit/kind.js';
import { Program } from '../device/program.js';

const folder = mkdtempSync(join(tmpdir(), 'test-module-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function moduleFile(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

/** What a user is told who names the module. */
async function mistakeOf(kind: string): Promise<string> {
  const spec = { kind, address: '0000:01:00.0', options: {}, canFault: true, where: '--device' };
  const [device] = await findModules([spec]);
  const kindMade = kindOf(await loadModel(device!));
  try {
    kindMade.create({}, new Program().surroundings);
  } catch (error) {
    throw moduleMistake(error, device!.file);
  }
  return 'none';
}

describe('a mistake in a module is told with its place:', () => {
  const device = (more: string): string =>
    [
      "import { defineDevice } from 'iopf/device';",
      'export const odd = defineDevice({',
      "  name: 'odd', summary: '', vendor: 1, device: 1, classCode: 0,",
      more,
      '});',
    ].join('\n');
  const bar = (registers: string): string =>
    `bars: [{ index: 0, size: 4096, registers: [${registers}] }], create: () => ({}),`;

  test.each([
    ['syntax.ts', 'export const =', 'syntax.ts:1: syntax error: Unexpected token'],
    ['none.ts', 'export const one = 1;', 'none.ts: exports no device; export what defineDevice'],
    ['throws.js', '\nthrow new TypeError("at the top")', 'throws.js:2: TypeError: at the top'],
    ['key.ts', device(`${bar('')} colour: 1,`), "key.ts:2: device odd: unknown key 'colour'"],
    [
      'table.ts',
      device(bar("{ name: 'A', offset: 0 }, { name: 'B', offset: 0 }")),
      'table.ts:2: device odd: BAR 0: B at 0x0 lies where A is',
    ],
    [
      'rule.ts',
      device(bar("{ name: 'A', offset: 0, rule: 'w2c' as 'rw' }")),
      "rule.ts:2: device odd: BAR 0: register A: rule 'w2c' is none of rw, ro",
    ],
    [
      'point.ts',
      device(`points: { late: { event: '', fault: '', takes: 'number' } }, ${bar('')}`),
      'point.ts:2: device odd: point late: sweep is missing: numbers for --inject-each, or none: []',
    ],
    [
      'words.ts',
      device(`points: { late: { event: '', fault: '', takes: ['a'], sweep: ['b'] } }, ${bar('')}`),
      "words.ts:2: device odd: point late: sweep has 'b', which the point does not take",
    ],
    [
      'asked.ts',
      device("bars: [], create({ fault }) { return { reset: () => void fault('x' as never) }; },"),
      "asked.ts:4: the device declares no point 'x'",
    ],
    ['create.ts', device("bars: [], create() { throw new Error('no'); },"), 'create.ts:4: no'],
    [
      'handlers.ts',
      device('bars: [], create: () => ({ pol() {} }) as object,'),
      "handlers.ts: create returns 'pol'; handlers are reset, poll, read",
    ],
    [
      'two.ts',
      `${device(bar(''))}\nexport const copy = defineDevice({ ...odd.definition, name: 'copy' });`,
      'two.ts: has the devices copy, odd; name one, as in ',
    ],
  ])('%s', async (name, text, message) => {
    await expect(mistakeOf(moduleFile(name, text))).rejects.toThrow(message);
  });

  test('a file that is not there, and a device that a module does not have', async () => {
    await expect(mistakeOf('./missing.ts')).rejects.toThrow('there is no file ./missing.ts');
    const file = moduleFile('one.ts', device(bar('')));
    await expect(mistakeOf(`${file}#other`)).rejects.toThrow('has no device other, but odd');
    await expect(mistakeOf(`${file}#odd`)).resolves.toBe('none');
  });

  test('a word that is neither a file nor a package is left to the list of kinds', async () => {
    const spec = { kind: 'no-such-kind', address: '', options: {}, canFault: true, where: '' };
    expect(await findModules([spec])).toEqual([]);
  });
});

test('docs/writing-a-device.md has the whole text of its example', () => {
  const text = readFileSync('docs/writing-a-device.md', 'utf8');
  for (const name of ['ring.ts', 'driver.c', 'driver.test.mjs'])
    expect(text).toContain(readFileSync(`examples/ring-device/${name}`, 'utf8'));
});
