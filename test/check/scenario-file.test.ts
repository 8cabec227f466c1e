import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { explore } from '../../src/check/search/explorer.js';
import { scenariosIn } from '../../src/check/search/scenario-file.js';

const folder = mkdtempSync(join(tmpdir(), 'iopf-scenario-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;

function file(text: string, extension = 'mjs'): string {
  const path = join(folder, `${++files}.${extension}`);
  writeFileSync(path, text);
  return pathToFileURL(path).href;
}

const actors = `{ device: (world) => world.devices[0].write(0), *host(world) { yield* world.host.discard(0); } }`;
const good = `{ name: 'good', about: 'fine', rows: ['R2.1'], world: { pages: 1 },
  setup: (world) => world.programs[0].map(0, 1), actors: ${actors} }`;

describe('a module of a user', () => {
  test('exports scenarios one by one and in arrays, and other things beside them', async () => {
    const module = file(`export const one = ${good}; export const more = [{ ...one, name: 'two' }];
      export const PAGES = 3; export const nothing = null; export const helper = () => 1;`);
    const found = await scenariosIn(module);
    expect(found.map(({ name }) => name).sort()).toEqual(['good', 'two']);
    expect(explore(found[0]!)).toMatchObject({ exhaustive: true, found: null });
  });

  test('may be TypeScript, with types of ours and an enum', async () => {
    const module = file(
      `import { type Scenario, WRITE } from 'iopf/check';
       enum Page { FIRST }
       export const typed: Scenario = { name: 'typed', about: 'x', rows: [], world: { pages: 1 },
         setup: (world) => world.programs[0]!.map(Page.FIRST, 1),
         actors: { device: (world) => world.devices[0]!.access(Page.FIRST, WRITE) } } satisfies Scenario;`,
      'ts',
    );
    const [typed] = await scenariosIn(module);
    expect(explore(typed!)).toMatchObject({ orders: 1, exhaustive: true, found: null });
  });

  test.each<[string, string, RegExp]>([
    [
      'a world with a key that is none',
      good.replace('pages: 1', 'page: 1'),
      /good: world: .*"page"/,
    ],
    ['a key that is none', good.replace('setup:', 'steup:'), /good: .*"steup"/],
    [
      'a device with a key that is none',
      good.replace('pages: 1', 'devices: [{ canfault: true }]'),
      /"canfault"/,
    ],
    ['no sentence about it', good.replace("about: 'fine',", ''), /good: about: /],
    [
      'a name that no command line can hold',
      good.replace("'good'", "'so good'"),
      /so good: name: /,
    ],
    ['actors that are none', good.replace(actors, '5'), /good: actors: /],
    [
      'an actor that is none',
      good.replace(actors, '{ device: 5 }'),
      /actors\.device: a function is needed/,
    ],
    ['no actor', good.replace(actors, '{}'), /at least one actor/],
    ['pages that are no number', good.replace('pages: 1', 'pages: 1.5'), /world\.pages/],
    [
      'an actor that yields nothing',
      good.replace('device: (world) => ', 'device(world) {').replace('write(0),', 'write(0) },'),
      /good cannot begin: actor device returns no flow/,
    ],
    [
      'an actor with an operation that is none',
      good.replace('.write(0)', '.wrte(0)'),
      /cannot begin: .*wrte/,
    ],
    ['a setup that fails', good.replace('programs[0]', 'programs[1]'), /cannot begin: .*map/],
  ])('is refused with %s', async (_, text, message) => {
    expect(text).not.toBe(good);
    await expect(scenariosIn(file(`export const x = ${text};`))).rejects.toThrow(message);
  });

  test('is refused with two scenarios of one name, of which one would never be run', async () => {
    const module = file(`export const one = ${good}; export const two = ${good};`);
    await expect(scenariosIn(module)).rejects.toThrow('scenario good: another one has this name');
  });
});
