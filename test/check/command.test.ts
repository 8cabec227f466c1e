/** The built command (npm test builds first). */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const main = resolve('dist/bundle/iopf.cjs');
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'iopf-check-'));
});

afterAll(() => rmSync(folder, { recursive: true }));

function check(...args: string[]): { status: number | null; out: string; error: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, 'check', ...args], {
    encoding: 'utf8',
  });
  return { status, out: stdout, error: stderr };
}

describe('iopf check', () => {
  test('runs a scenario in every order and says how many there were', () => {
    const json = join(folder, 'ok.json');
    const { status, out } = check('fault-migrate-unmap', 'enable-fault', '--json', json);
    expect(status).toBe(0);
    expect(out).toMatch(/fault-migrate-unmap +every order +92 orders, \d+ states/);
    const { scenarios } = JSON.parse(readFileSync(json, 'utf8'));
    expect(scenarios).toHaveLength(2);
    const report = scenarios.find((each: { name: string }) => each.name === 'fault-migrate-unmap');
    expect(report).toMatchObject({ orders: 92, exhaustive: true, violations: [] });
    expect(report.seconds).toBeGreaterThan(0);
  });

  test('a violation is 1, with its row, its timeline and a command that shows it again', () => {
    const json = join(folder, 'bad.json');
    const html = join(folder, 'bad.html');
    const { status, out } = check('--variant', 'rfc-v3/R3.3', '--json', json, '--html', html);
    expect(status).toBe(1);
    expect(out).toContain(
      'R3.3: broken: no access goes through a translation of a page that is gone',
    );
    const [violation] = JSON.parse(readFileSync(json, 'utf8')).scenarios.at(-1).violations;
    expect(violation.steps.length).toBeLessThanOrEqual(12);
    expect(violation.row).toBe('R3.3');
    expect(readFileSync(html, 'utf8')).toContain('UNMAP_DMA 0x200');
    const again = check(...violation.replay.split(' ').slice(2));
    expect(again.status).toBe(1);
    expect(again.out).toContain(violation.detail);
  });

  test('within a bound says what was covered, and a violation replays there', () => {
    const json = join(folder, 'bound.json');
    const words = ['two-faults-remap', 'aliases', '--bound', 'devices=3,steps=9', '--json', json];
    const { status, out } = check(...words);
    expect(status).toBe(0);
    expect(out).toMatch(/two-faults-remap +not every order .* in \d shares, .* cut$/m);
    expect(out).toContain('\n1 page, 3 devices: two-faults-remap\nnot scaled: aliases\n');
    const { coverage, scenarios } = JSON.parse(readFileSync(json, 'utf8'));
    expect(coverage).toMatchObject({
      bound: { pages: null, devices: 3, steps: 9 },
      notScaled: ['aliases'],
    });
    expect(scenarios[0]).toMatchObject({ devices: 3, scalable: true, exhaustive: false });
    const bad = check('fault-migrate-unmap', '--variant', 'rfc-v3/R3.3', '--bound', 'pages=2');
    expect(bad.status).toBe(1);
    const [, again] = /^ *again: iopf check (.*)$/m.exec(bad.out)!;
    expect(again).toContain('--bound pages=2,devices=1 --order');
    expect(check(...again!.split(' ')).status).toBe(1);
    expect(check('aliases', '--bound', 'page=3')).toMatchObject({ status: 2, out: '' });
  });

  test('a scenario that looks where it does not say is no violation: what, where and which steps, exit 2', () => {
    const file = join(folder, 'liar.mjs');
    const operations = join(import.meta.dirname, '../../dist/src/check/world/operation.js');
    writeFileSync(
      file,
      `import { onContainer, VADDR } from '${operations}';
       export const liar = {
         name: 'liar', about: 'looks at memory', rows: [], world: { pages: 1 },
         actors: {
           *a(world) {
             yield onContainer('looks');
             world.notes.note(null, world.programs[0].mm.frameAt(VADDR));
             yield onContainer('remembers');
           },
           host: (world) => world.host.migrate(0),
         },
       };`,
    );
    const { status, error } = check(file);
    expect(status).toBe(2);
    expect(error).toMatch(
      /^iopf: scenario liar, after the steps 1,1,0: another thing came of a step/,
    );
  });

  test('says it in right English: one scenario, and a violation in the first order', () => {
    expect(check('fault-migrate-unmap').out).toMatch(
      /^1 scenario, 1 in every order: 92 orders, .* 0 violations/m,
    );
    const { out } = check('enable-fault', '--variant', 'rfc-v3/R5.2-up');
    expect(out).toMatch(/VIOLATION +in the first order, 2 states, 1 run,/);
    expect(out).toContain('the shortest order that breaks it, 1 step:');
    expect(out).toMatch(/^1 variant, 1 scenario: 0 orders, 2 states, 1 run, 1 violation, /m);
  });

  test('a scenario that never ends is reported within seconds, by both ends of its order, and replays', () => {
    const file = join(folder, 'endless.mjs');
    writeFileSync(
      file,
      `export const endless = { name: 'endless', about: 'never ends', rows: ['R2.1'],
        setup: (world) => world.programs[0].map(0, 1),
        actors: { *device(world) { for (;;) yield* world.devices[0].read(0); }, host: (world) => world.host.fork() } };`,
    );
    const json = join(folder, 'endless.json');
    const { status, out } = check(file, '--json', json);
    expect(status).toBe(1);
    expect(out).toContain('R2.1: broken: where everybody gets a turn, somebody gets done');
    expect(out).toContain('… 960 steps …');
    const [violation] = JSON.parse(readFileSync(json, 'utf8')).scenarios[0].violations;
    expect(violation.seed).toBe(1);
    expect(violation.replay).toMatch(`iopf check ${file}#endless --order `);
    const again = check(...violation.replay.split(' ').slice(2));
    expect(again.status).toBe(1);
    expect(again.out).toContain(violation.detail);
  });

  test('gives every order up at the bound and goes on with random ones', () => {
    const { status, out } = check('detach-fault', '--states', '20', '--random', '1', '--jobs', '1');
    expect(status).toBe(0);
    expect(out).toMatch(/not every order .* random orders/);
  });

  test('runs scenarios of a file of the user', () => {
    const file = join(folder, 'mine.mjs');
    const text = `export const mine = { name: 'mine', about: 'my own', rows: ['R2.1'],
      setup: (world) => world.programs[0].map(0, 1),
      actors: { device: (world) => world.devices[0].write(0), host: (world) => world.host.discard(0) } };`;
    writeFileSync(file, text);
    const { status, out } = check(`${file}#mine`);
    expect(out).toMatch(/mine +every order/);
    expect(status).toBe(0);
  });

  test('runs TypeScript, which Node 20 does not', () => {
    const file = join(folder, 'typed.ts');
    const text = /```ts\n(.*?)```/s.exec(readFileSync('docs/check.md', 'utf8'))![1]!;
    writeFileSync(file, text);
    const { status, out } = check(file);
    expect(out).toMatch(/my-scenario +every order/);
    expect(status).toBe(0);
  });

  test.each([
    [['/tmp'], 'neither a scenario nor a file'],
    [['package.json'], 'package.json: '],
    [['fault-migrate-unmap', '--order', ''], 'numbers of actors'],
    [['no-such-scenario'], 'neither a scenario nor a file'],
    [['--variant', 'nobody'], 'nobody is neither a variant nor a file'],
    [['--seed', 'x'], 'a whole number is needed'],
    [['fault-migrate-unmap', '--order', '0,7'], 'does not fit'],
  ])('%j is 2', (args, message) => {
    const { status, error } = check(...(args as string[]));
    expect(error).toContain(message);
    expect(status).toBe(2);
  });
});
