/** What an author can do wrong is told as that, and is no violation (npm test builds first). */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { mendBuiltins } from '../../src/check/search/builtins.js';
import { explore } from '../../src/check/search/explorer.js';
import { ScenarioMistake } from '../../src/check/verify/scenario-mistake.js';
import type { Scenario } from '../../src/check/world/scenario.js';

const folder = mkdtempSync(join(tmpdir(), 'test-mistakes-'));
afterAll(() => rmSync(folder, { recursive: true }));

function actor(flow: string): Scenario {
  const text = `return { name: 'x', about: 'y', rows: ['R3.1'], world: { pages: 2 },
    setup: (w) => w.programs[0].map(0, 2),
    actors: { ${flow}, h: (w) => w.host.discard(0) } };`;
  return new Function(text)() as Scenario;
}

describe('an actor that', () => {
  test.each([
    ['throws null', '*d(w) { throw null; }', 'actor d throws null, which is no Error'],
    [
      'throws later',
      '*d(w) { yield* w.devices[0].write(0); throw 5; }',
      'actor d throws 5, which is no Error',
    ],
    ['yields nonsense', '*d(w) { yield 5; }', 'actor d yields 5, which is nothing to wait for'],
    ['is async', 'async *d(w) { yield 1; }', 'actor d is async'],
    ['has no such device', '*d(w) { yield* w.devices[9].write(0); }', 'actor d: TypeError: '],
    ['has no such guest', '*d(w) { yield* w.guest(9).open(); }', 'number of a device is 9'],
    [
      'has no such group',
      '*d(w) { yield* w.programs[0].attach(7); }',
      'there is no group 7, but 1',
    ],
    ['writes page NaN', '*d(w) { yield* w.devices[0].write(NaN); }', 'write: page is NaN'],
    ['writes page -5', '*d(w) { yield* w.devices[0].write(-5); }', 'write: page is -5'],
    ['writes page "0"', '*d(w) { yield* w.host.discard("0"); }', 'discards: page is '],
    ['maps -1 pages', '*d(w) { yield* w.programs[0].map(0, -1); }', 'number of pages is -1'],
  ])('%s is told as its mistake', (_, flow, message) => {
    const run = (): unknown => explore(actor(flow));
    expect(run).toThrow(ScenarioMistake);
    expect(run).toThrow(message);
    expect(run).toThrow(/^scenario x: actor d/);
  });

  test('says itself that something is wrong has found a violation', () => {
    const flow = '*d(w) { yield* w.devices[0].write(0); throw new Error("mine"); }';
    expect(explore(actor(flow)).found?.violation.detail).toBe('Error: mine');
  });
});

test('what a file changes of JavaScript itself is found, and as it was', () => {
  const { push } = Array.prototype;
  expect(mendBuiltins()).toBeNull();
  Array.prototype.push = () => 0;
  expect(mendBuiltins()).toBe('Array.prototype.push');
  expect(Array.prototype.push).toBe(push);
  (Object.prototype as Record<string, unknown>)['extra'] = 1;
  expect(mendBuiltins()).toBe('Object.prototype.extra');
  expect('extra' in {}).toBe(false);
});

describe('a file that', () => {
  const scenario = (body: string): string => `export const s = { name: 'x', about: 'y', rows: [],
    setup: (w) => w.programs[0].map(0, 2),
    actors: { *d(w) { ${body} }, h: (w) => w.host.discard(0) } };`;
  test.each([
    ['ends its process in a step', scenario('process.exit(0);'), 'process.exit'],
    ['ends its process when it is read', 'process.exit(0);', 'process.exit'],
    ['throws null when it is read', 'throw null;', 'throws null'],
    ['does not come to an end', scenario('for (;;) {}'), 'in a step of its actor 0'],
    [
      'changes what JavaScript brings',
      scenario('Array.prototype.push = () => { throw 1; }; yield* w.devices[0].write(0);'),
      'changes Array.prototype.push',
    ],
  ])('%s is told so, exit 2', (name, text, message) => {
    const file = join(folder, `${name.replaceAll(' ', '-')}.mjs`);
    writeFileSync(file, text);
    const main = resolve('dist/bundle/iopf.cjs');
    const { status, stderr, stdout } = spawnSync(process.execPath, [main, 'check', file], {
      encoding: 'utf8',
    });
    expect(stderr).toMatch(/^iopf: .*\n$/);
    expect(stderr).toContain(message);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
  });
});
