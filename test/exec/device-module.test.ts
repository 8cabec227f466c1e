/** Devices of users: `--device ./ring.ts@BDF`, and what becomes of mistakes in them. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Sweep } from '../../src/cli/sweep-outcome.js';
import { have, moreIsAsked } from '../skip.js';
import { iopf, type RunResult, runIopf } from './run-iopf.js';

const address = '0000:01:00.0';
const folder = mkdtempSync(join(tmpdir(), 'test-module-'));
const driver = join(folder, 'driver');
const example = resolve(import.meta.dirname, '../../examples/ring-device');
const ringText = readFileSync(join(example, 'ring.ts'), 'utf8');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function moduleFile(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

/** The ring of the example with a line more, where a handler begins; its line number. */
function ringWith(name: string, statement: string): { file: string; line: number } {
  const lines = ringText.split('\n');
  const at = lines.findIndex((line) => line.trim() === 'poll() {') + 1;
  lines.splice(at, 0, statement);
  return { file: moduleFile(name, lines.join('\n')), line: at + 1 };
}

const run = (file: string, ...options: string[]): Promise<RunResult> =>
  runIopf(['--device', `${file}@${address}`, ...options], [driver, address]);
const ones = 2 ** 32 - 1;

describe.skipIf(!have('cc', 'a driver of a device of a user'))('a driver', () => {
  beforeAll(() => {
    copyFileSync(join(example, 'ring.ts'), join(folder, 'ring.ts'));
    const source = join(example, 'driver.c');
    const { status, stderr } = spawnSync('cc', ['-O1', '-Wall', '-o', driver, source]);
    expect(`${stderr}`).toBe('');
    expect(status).toBe(0);
  });

  test.concurrent('drives a device of a module, whose registers are told by name', async () => {
    const { code, stderr, stdout, summary } = await runIopf(
      ['--device', `${join(folder, 'ring.ts')}@${address},log=registers`],
      [driver, address],
    );
    expect(stdout, stderr).toBe('100 of 100 pages copied, 0 wrong, events 1 and then 0\n');
    expect(code).toBe(0);
    expect(summary).toMatchObject({ pinnedBytesPeak: 0, pagesFaultedIn: 201, refused: [] });
    expect(stderr).toContain(`iopf: ring@${address}: wrote ENTRIES 0x64\n`);
    expect(stderr).toContain(`iopf: ring@${address}: read EVENTS 0x1\n`);
  });

  test.concurrent('reads ones of a device that threw, and its module is told where', async () => {
    const { file, line } = ringWith(
      'throws.ts',
      "if (registers.get('HEAD') === 100) throw new RangeError('bad luck');",
    );
    const { code, stderr, stdout } = await run(file);
    expect(stdout).toBe(`${ones} of 100 pages copied, 0 wrong, events ${ones} and then ${ones}\n`);
    expect(stderr).toMatch(
      new RegExp(
        `^iopf: device ring@${address} failed: \\S*throws.ts:${line}: RangeError: bad luck; it is dead`,
      ),
    );
    expect(code).toBe(1);
  });

  test.concurrent('ends with such a device where --device-errors says so', async () => {
    const { file, line } = ringWith('stops.ts', "throw new Error('bad luck');");
    const { code, stderr, summary } = await run(file, '--device-errors', 'stop');
    expect(stderr).toMatch(new RegExp(`stops.ts:${line}: bad luck; ended .--device-errors stop.`));
    expect(code).toBe(125);
    expect(summary).toBeNull();
  });

  test.concurrent('notices each fault that the device declares itself', async () => {
    const ring = join(folder, 'ring.ts');
    const short = await run(ring, '--inject', 'ring:short:3', '--inject', 'ring:status:0=2');
    expect(short.stdout, short.stderr).toMatch(/^100 of 100 pages copied, 1 wrong/);
    expect(short.summary!.injected).toEqual([
      { rule: 'ring:short:3', point: 'own', count: 1, passed: 100 },
      { rule: 'ring:status:0=2', point: 'own', count: 0, passed: 100 },
    ]);
    const status = await run(ring, '--inject', 'ring:status:50+=0x2@device=01:00.0');
    expect(status.stdout).toMatch(/^100 of 100 pages copied, 51 wrong, events 3 /);
  });

  const isSwept = moreIsAsked('a sweep over the points of a device of a user');
  test.skipIf(!isSwept)('is swept over the points of its device', async () => {
    const each = ['--inject-each', 'ring:short', '--each-most', '1'];
    const { stderr, summary } = await run(join(folder, 'ring.ts'), ...each);
    const { points, runs } = summary as unknown as Sweep;
    expect(points, stderr).toEqual([{ rule: 'ring:short', passed: 100 }]);
    expect(runs.map(({ outcome, rule }) => [rule, outcome])).toEqual([['ring:short:1', 'error']]);
  });

  test.concurrent('is told which device does not return, and from where', async () => {
    const { file, line } = ringWith('hangs.ts', 'while (dma.enabled) memory(0).bytes[0] = 1;');
    const { code, stderr } = await run(file, '--device-errors', 'stop');
    expect(stderr).toMatch(
      new RegExp(`device ring@${address} has not returned for 5 s, \\S*hangs.ts:${line};`),
    );
    expect(code).toBe(125);
  });

  test.concurrent.each([
    [
      'an async handler',
      'poll.ts',
      '      poll() {',
      '      async poll() {',
      'poll returns a promise',
    ],
    [
      'process.exit',
      'exit.ts',
      '      poll() {',
      '      poll() { process.exit(3);',
      String.raw`\S*exit.ts:\d+: process.exit: a device cannot end iopf`,
    ],
  ])('goes on without a device that has %s', async (_what, name, from, to, reason) => {
    const file = moduleFile(name, ringText.replace(from, to));
    const { stderr, summary } = await run(file, '--device-errors', 'stop');
    expect(stderr).toMatch(new RegExp(`^iopf: device ring@${address} failed: ${reason}`));
    expect(summary).toBeNull();
  });

  test.concurrent('ends where a device has left something to Node, and is told of it once', async () => {
    const left = "setInterval(() => { throw new Error('late'); }, 1); setInterval(() => {}, 1);";
    const { file } = ringWith('left.ts', left);
    const { code, stderr, stdout } = await run(file);
    expect(stdout).toBe('100 of 100 pages copied, 0 wrong, events 1 and then 0\n');
    expect(stderr.match(/late;/g)?.length ?? 0, stderr).toBeLessThan(2);
    expect(stderr).not.toContain('defect');
    expect(code).toBe(0);
  });
});

describe('a mistake on the command line is told, and nothing runs:', () => {
  test('a module with one', async () => {
    const file = moduleFile('none.ts', 'export const one = 1;');
    const { code, stderr, summary } = await run(file);
    expect(stderr).toMatch(/^iopf: \S*none.ts: exports no device; export what defineDevice/);
    expect(code).toBe(125);
    expect(summary).toBeNull();
  });

  test.each([
    ['an await that nothing ends', 'await new Promise(() => {});', ': an await at its top never'],
    ['process.exit', 'process.exit(3);', String.raw`:\d+: process.exit: a device cannot end iopf`],
  ])('a module with %s', async (_what, top, reason) => {
    const file = moduleFile('top.ts', `${top}\n${ringText}`);
    const { code, stderr, summary } = await run(file);
    expect(stderr).toMatch(new RegExp(`^iopf: \\S*top.ts${reason}`));
    expect(code).toBe(125);
    expect(summary).toBeNull();
  });

  test('a device with points whose name iopf has taken', async () => {
    const file = moduleFile('dma.ts', ringText.replace("name: 'ring'", "name: 'dma'"));
    const { code, stderr } = await run(file, '--inject', 'dma:refuse');
    expect(stderr).toMatch(/dma.ts: device dma declares points, and dma: begins those of iopf; /);
    expect(code).toBe(125);
  });

  test('an option that the device does not take', async () => {
    const option = await runIopf(
      ['--device', `${join(folder, 'ring.ts')}@${address},depth=3`],
      ['true'],
    );
    expect(option.stderr).toContain(
      "device ring has no option 'depth'; it takes entries, mmap, log",
    );
  });
});

test('--help with a module named shows its options and its registers', () => {
  const ring = join(example, 'ring.ts');
  const words = ['exec', '--device', `${ring}@${address}`, '--help'];
  const { status, stdout } = spawnSync(process.execPath, [iopf, ...words], { encoding: 'utf8' });
  expect(status).toBe(0);
  expect(stdout).toContain('entries=  descriptors that a ring has at most; 256 unless given');
  expect(stdout).toContain('ring:short  at a descriptor that is fetched: its last byte is');
  expect(stdout).toMatch(/^ +0x10 {2}EVENTS {5}rc {3}since it was read: 1 done, 2 refused$/m);
});
