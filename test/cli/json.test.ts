/** What `--json` writes (npm test builds first), held to the schemas that the package has. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { kernelVersions } from '../../src/abi/kernel.js';
import { jsonSchemas, schemas } from '../../src/cli/json/schemas.js';
import { glossary } from '../../src/report/glossary.js';

const main = resolve('dist/src/cli/main.js');
const folder = resolve('dist/schemas');

function iopf(...words: string[]): { code: number | null; stdout: string; stderr: string } {
  const run = spawnSync(process.execPath, [main, ...words], { encoding: 'utf8' });
  return { code: run.status, stdout: run.stdout, stderr: run.stderr };
}

/** The shipped file of a kind of document, and every field of it is named there. */
function holdTo(kind: keyof typeof schemas, text: string): Record<string, unknown> {
  const shipped = JSON.parse(readFileSync(join(folder, `iopf.${kind}-1.json`), 'utf8'));
  const document = JSON.parse(text);
  expect(z.fromJSONSchema(shipped).safeParse(document).error).toBeUndefined();
  expect(schemas[kind].strict().safeParse(document).error).toBeUndefined();
  return document;
}

const head = {
  version: JSON.parse(readFileSync('package.json', 'utf8')).version,
  host: { kernel: release(), node: process.version, architecture: process.arch },
};

describe('--json', () => {
  test('of exec goes to standard output behind what the program says', () => {
    const words = ['exec', '--quiet', '--device', 'nvme@0000:02:00.0,size=4M', '--json', '-'];
    const { code, stdout, stderr } = iopf(...words, '--', 'sh', '-c', 'echo said; exit 3');
    expect([code, stderr]).toEqual([3, '']);
    expect(stdout).toMatch(/^said\n\{/);
    expect(holdTo('exec', stdout.slice('said\n'.length))).toMatchObject({
      schema: 'iopf.exec/1',
      arguments: [...words, '--', 'sh', '-c', 'echo said; exit 3'],
      ...head,
      program: 'sh',
      exitCode: 3,
      devices: [{ kind: 'nvme', address: '0000:02:00.0', options: { size: '4M' } }],
    });
  });

  test('of all kernels and modes is a run for each, with one table and one exit code', () => {
    const junit = join(mkdtempSync(join(tmpdir(), 'test-matrix-')), 'junit.xml');
    const program = 'test "$(uname -s)" = Linux && test -e /dev/vfio/vfio && exit "$0"';
    const words = ['--kernel', 'all', '--iopf', 'off', '--json', '-', '--junit', junit];
    const { code, stdout, stderr } = iopf('exec', ...words, '--', 'sh', '-c', program, '7');
    expect(code).toBe(7);
    const { runs } = holdTo('matrix', stdout) as { runs: { run: { exitCode: number } }[] };
    expect(runs).toMatchObject(
      kernelVersions.map((kernel) => ({ kernel, iopf: 'off', exitCode: 7, run: { kernel } })),
    );
    expect(stderr).toMatch(/^iopf: sh: 0 of 3 runs ended with 0\n {2}kernel {2}IOPF /);
    expect(stderr.match(/exit code 7/g)).toHaveLength(3);
    const xml = readFileSync(junit, 'utf8');
    expect(xml).toContain('<testsuites tests="3" failures="3" errors="0"');
    expect(xml.match(/<failure message="exit code 7"\/>/g)).toHaveLength(3);
  });

  test('of all modes works in the installed command, too', () => {
    const words = ['exec', '--iopf', 'all', '--jobs', '2', '--quiet', '--json', '-'];
    const { status, stdout } = spawnSync('bin/iopf', [...words, '--', 'echo', 'said'], {
      encoding: 'utf8',
    });
    expect(status).toBe(0);
    // What runs at the same time is not mixed.
    const said = 'said\n'.repeat(3);
    expect(stdout.slice(0, said.length)).toBe(said);
    const { runs } = holdTo('matrix', stdout.slice(said.length));
    expect(runs).toMatchObject(['auto', 'ask', 'off'].map((iopf) => ({ iopf, exitCode: 0 })));
    expect(iopf('exec', '--jobs', '2', '--', 'true').stderr).toBe(
      'iopf: --jobs is of several runs: --inject-each, --kernel all or --iopf all\n',
    );
  });

  test('of a sweep names its points, its runs and what was found', () => {
    const words = ['exec', '--quiet', '--inject-each', 'call', '--json', '-', '--', 'true'];
    const { code, stdout } = iopf(...words);
    expect(code).toBe(0);
    const points = [{ rule: 'call:*=ENOMEM', passed: 0 }];
    expect(holdTo('sweep', stdout)).toMatchObject({ program: 'true', points, runs: [], found: 0 });
    expect(iopf('exec', '--each-most', '3', '--', 'true').stderr).toBe(
      'iopf: --each-most is of --inject-each, which is not there\n',
    );
  });

  test.each(['html', 'record', 'trace'])('is refused with --%s, which is of one run', (option) => {
    const words = ['exec', '--iopf', 'all', `--${option}`, '/tmp/none', '--', 'true'];
    const stderr = `iopf: --${option} is of one run: name one --kernel and one --iopf\n`;
    expect(iopf(...words)).toEqual({ code: 125, stdout: '', stderr });
  });

  test('of compare is all of standard output', () => {
    const words = ['compare', '--json', '-', '--policy', 'static,iopf', '--jobs', '1'];
    const { code, stdout } = iopf(...words, 'examples/block-random.yaml');
    expect(code).toBe(0);
    const document = holdTo('compare', stdout);
    expect(document).toMatchObject({ schema: 'iopf.compare/1', ...head });
    expect(document['runs']).toHaveLength(2);
  });

  test('of check is all of standard output, and --quiet leaves the exit code', () => {
    const junit = join(mkdtempSync(join(tmpdir(), 'test-check-')), 'junit.xml');
    const words = ['check', 'two-faults-one-page', '--variant', 'rfc-v3/R3.3', '--jobs', '1'];
    const { code, stdout } = iopf(...words, '--json', '-', '--junit', junit);
    expect(code).toBe(1);
    const xml = readFileSync(junit, 'utf8');
    expect(xml).toContain('<testsuites tests="1" failures="1" errors="0"');
    expect(xml).toMatch(/<testcase classname="rfc-v3\/R3.3" name="two-faults-one-page" time="/);
    expect(xml).toMatch(/<failure message="R3.3: broken: no access goes through /);
    expect(xml).toContain('again: iopf check two-faults-one-page --variant rfc-v3/R3.3 --order');
    expect(holdTo('check', stdout)).toMatchObject({ schema: 'iopf.check/1', ...head });
    expect(iopf(...words, '--quiet')).toEqual({ code: 1, stdout: '', stderr: '' });
  });

  test('of --version is the head of all of them', () => {
    const { code, stdout } = iopf('--version', '--json');
    expect(code).toBe(0);
    expect(holdTo('version', stdout)).toEqual({
      schema: 'iopf.version/1',
      arguments: ['--version', '--json'],
      ...head,
    });
  });
});

test('the shipped schemas are those of the sources, and refuse what is no such document', () => {
  const written = jsonSchemas();
  expect(
    readdirSync(folder)
      .filter((name) => name.endsWith('-1.json'))
      .sort(),
  ).toEqual(
    Object.keys(written)
      .map((kind) => `iopf.${kind}-1.json`)
      .sort(),
  );
  for (const [kind, schema] of Object.entries(written)) {
    const file = readFileSync(join(folder, `iopf.${kind}-1.json`), 'utf8');
    expect(JSON.parse(file)).toEqual(schema);
    const wrong = { schema: `iopf.${kind}/2`, arguments: [], ...head };
    expect(z.fromJSONSchema(JSON.parse(file)).safeParse(wrong).success).toBe(false);
  }
});

test('every number of a run, a comparison and a check is explained', () => {
  const named = (schema: { shape: object }): string[] => Object.keys(schema.shape);
  const { check, compare, exec } = schemas;
  const { overcommit, published, runs } = compare.shape;
  const tables = [
    runs.element,
    published.unwrap().element,
    overcommit.unwrap().element,
    exec.shape.refused.element,
    exec.shape.lostInterrupts.element,
    exec.shape.failedCalls.element,
  ];
  const shared = named(check).filter((name) => name in exec.shape);
  const names = [exec, ...tables].flatMap(named).filter((name) => !shared.includes(name));
  expect(names.filter((name) => glossary[name] === undefined)).toEqual([]);
});
