/** `iopf conformance` (npm test builds first). */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { schemas } from '../../src/cli/json/schemas.js';
import type { VectorFile } from '../../src/conformance/vectors.js';
import { available } from '../skip.js';

const main = resolve('dist/bundle/iopf.cjs');
const folder = mkdtempSync(join(tmpdir(), 'iopf-conformance-'));
afterAll(() => rmSync(folder, { recursive: true }));

const spawned = (...words: string[]) =>
  spawnSync(process.execPath, [main, ...words], { encoding: 'utf8' });
const conformance = (...words: string[]) => spawned('conformance', ...words);

describe('iopf conformance', () => {
  test('replays a topic, and tells it as JSON and JUnit', () => {
    const json = join(folder, 'limits.json');
    const junit = join(folder, 'limits.xml');
    const words = ['--kernel', '7.2', '--json', json, '--junit', junit];
    const { status, stdout } = conformance('limits', ...words);
    expect(stdout).toBe('limits: 17 passed, 0 failed\n17 passed, 0 failed\n');
    expect(status).toBe(0);
    const document = schemas.conformance.parse(JSON.parse(readFileSync(json, 'utf8')));
    expect(document).toMatchObject({ against: 'engine', passed: 17, failed: 0, skipped: 0 });
    expect(document.topics).toMatchObject([{ topic: 'limits', kernel: '7.2' }]);
    expect(readFileSync(junit, 'utf8')).toContain('tests="17" failures="0"');
  });

  test('shows what is not as recorded: what was asked, what was expected, what came', () => {
    const file = JSON.parse(readFileSync('test/vectors/limits.json', 'utf8')) as VectorFile;
    const [first, second] = file.cases;
    const steps = first!.steps.map((step, index) =>
      index === 0 ? { ...step, errno: 'EPERM' } : step,
    );
    const path = join(folder, 'changed.json');
    writeFileSync(path, JSON.stringify({ ...file, cases: [{ ...first, steps }, second] }));
    const { status, stdout } = conformance(path);
    expect(stdout).toMatch(/^changed: 1 passed, 1 failed\n/);
    expect(stdout).toMatch(/ {2}step 0: .*\n {4}expected errno EPERM\n {4}came {5}errno null\n/);
    expect(status).toBe(1);
    const one = conformance(path, '--case', `${second!.name.slice(0, -1)}*`);
    expect(one.stdout).toMatch(/1 passed, 0 failed\n$/);
    expect(conformance(path, '--case', 'none')).toMatchObject({
      stdout: '0 passed, 0 failed\nnothing ran\n',
      status: 1,
    });
  });

  test.each([
    [['no-such-topic'], 'no-such-topic is neither a topic'],
    [['--against', 'luck'], 'luck'],
    [['limits', '--device', 'd0=0000:00:02.0'], '--device is of --against host'],
    [['--against', 'host', '--device', 'd0'], 'd0=0000:01:00.0 is needed'],
  ])('%j is a usage error', (words, message) => {
    const { status, stderr } = conformance(...words);
    expect(stderr).toContain(message);
    expect(status).toBe(2);
  });

  const hasVfio = existsSync('/dev/vfio/vfio') || existsSync('/dev/iommu');
  test.skipIf(hasVfio)('says that a machine has no VFIO, and what to do', () => {
    const { status, stderr } = conformance('--against', 'host');
    expect(stderr).toMatch(/^iopf: this machine has neither \/dev\/vfio\/vfio nor \/dev\/iommu/);
    expect(status).toBe(2);
  });
});

const isRoot = available(process.getuid!() === 0, '--against host', 'it needs root');

describe.skipIf(!isRoot)("against a machine's own VFIO, which here is that of iopf exec,", () => {
  test('cases are replayed with its devices, and what needs others is skipped by name', () => {
    const machine = join(folder, 'machine.yaml');
    writeFileSync(
      machine,
      'groups: [{ number: 7, devices: [{ kind: edu, address: 0000:00:12.0 }] }]',
    );
    const exec = ['exec', '--quiet', '--iopf', 'off', '--machine', machine, '--'];
    const words = ['--against', 'host', '--kernel', '6.12', '--device', 'd0=0000:00:12.0'];
    const { status, stdout } = spawned(
      ...exec,
      process.execPath,
      main,
      'conformance',
      'group',
      ...words,
    );
    expect(stdout).toMatch(/^group: 6 passed, 0 failed, 6 skipped\n/);
    expect(stdout).toContain('skipped: needs g4, h4 of the recording: --device');
    expect(status).toBe(0);
  });
});
