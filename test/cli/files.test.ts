/** What the built command does with files that it is given (npm test builds first). */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { Counters } from '../../src/iommu/observer.js';
import { READ } from '../../src/mm/address-space.js';
import { Recorder } from '../../src/trace/recorder.js';

const main = resolve('dist/bundle/iopf.cjs');
const folder = mkdtempSync(join(tmpdir(), 'test-cli-files-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
execFileSync('mkfifo', [at('fifo')]);

function iopf(args: readonly string[], before = ''): { code: number | null; error: string } {
  const words = [process.execPath, main, ...args].map((word) => `'${word}'`).join(' ');
  const run = spawnSync('sh', ['-c', `${before} exec ${words}`], { encoding: 'utf8' });
  return { code: run.status, error: run.stderr };
}

describe('iopf exec', () => {
  test.each([
    ['--record', at('fifo')],
    ['--trace', at('fifo')],
    ['--json', at('fifo')],
    ['--machine', at('fifo')],
    ['--device', `recorded@0000:01:00.0,file=${at('fifo')}`],
    ['--device', `nvme@0000:01:00.0,readonly=on,file=${at('fifo')}`],
  ])('does not wait for a pipe: %s', (option, value) => {
    const { code, error } = iopf(['exec', option, value, '--', 'true']);
    expect(error).toContain('a pipe');
    expect(code).toBe(125);
  });

  test('leaves every file as it was where nothing runs', () => {
    for (const name of ['json', 'html', 'record', 'trace']) writeFileSync(at(name), 'old');
    const outputs = ['json', 'html', 'record', 'trace'].flatMap((name) => [`--${name}`, at(name)]);
    const wrong = ['exec', ...outputs, '--device', 'edu@0000:01:00.0,mmap=maybe', '--', 'true'];
    expect(iopf(wrong).code).toBe(125);
    for (const name of ['json', 'html', 'record', 'trace'])
      expect(readFileSync(at(name), 'utf8')).toBe('old');
    const fresh = ['exec', '--record', at('fresh'), ...wrong.slice(-4)];
    expect(iopf(fresh).code).toBe(125);
    expect(existsSync(at('fresh'))).toBe(false);
  });

  test('has no file for two things', () => {
    const { code, error } = iopf(['exec', '--trace', at('t'), '--record', at('t'), '--', 'true']);
    expect(error).toBe(`iopf: ${at('t')} is named twice, as --record and as --trace\n`);
    expect(code).toBe(125);
  });

  test('goes on without a recording that has no more room, and says so in one line', () => {
    const program = ['--', 'sh', '-c', 'exit 4'];
    const { code, error } = iopf(['exec', '--quiet', '--record', '/dev/full', ...program]);
    expect(error).toBe('iopf: the recording /dev/full is incomplete: ENOSPC\n');
    expect(code).toBe(4);
  });

  test('says that it has no folder for temporary files', () => {
    const { code, error } = iopf(['exec', '--', 'true'], 'export TMPDIR=/proc/none;');
    expect(error).toBe(
      'iopf: cannot make a directory in /proc/none: ENOENT; set TMPDIR to another one\n',
    );
    expect(code).toBe(125);
  });

  test('shows nothing of sysfs where its folder for temporary files is full', () => {
    // A file may have no bytes: as on a disk that is full.
    const program = ['--', 'cat', '/sys/module/vfio/initstate'];
    const { code, error } = iopf(['exec', '--quiet', ...program], 'ulimit -f 0;');
    expect(error).toBe('cat: /sys/module/vfio/initstate: File too large\n');
    expect(code).toBe(1);
  });
});

test('a recording that has no more room ends with its last whole block', () => {
  const header = { program: 'p', arguments: [], kernel: '6.12', iopf: 'auto', premap: 1 };
  const recorder = new Recorder('/dev/full', header, new Counters(), () => 0);
  for (let page = 0; page < 1_000_000; page += 9) recorder.accessed(page, READ, false);
  expect(recorder.close()).toBe('the recording /dev/full is incomplete: ENOSPC');
});

describe('iopf trace and iopf compare', () => {
  test('write over no input', () => {
    writeFileSync(at('x'), 'precious');
    for (const args of [
      ['trace', '--output', at('x'), at('x')],
      ['compare', at('x'), '--json', at('x')],
    ]) {
      expect(iopf(args)).toMatchObject({ code: 2, error: expect.stringContaining('named twice') });
      expect(readFileSync(at('x'), 'utf8')).toBe('precious');
    }
  });

  test('name the file that takes no more', () => {
    expect(iopf(['exec', '--quiet', '--record', at('rec'), '--', 'true', '\x1b]0;x']).code).toBe(0);
    expect(iopf(['trace', '--output', '/dev/full', at('rec')])).toEqual({
      code: 2,
      error: 'iopf: cannot write /dev/full: ENOSPC\n',
    });
    const quiet = spawnSync(process.execPath, [main, 'trace', '--check', '--quiet', at('rec')]);
    expect([quiet.status, `${quiet.stdout}${quiet.stderr}`]).toEqual([0, '']);
    const text = spawnSync(process.execPath, [main, 'trace', at('rec')], { encoding: 'utf8' });
    expect(text.stdout).toContain('# true \\x1b]0;x: Linux');
    expect(readdirSync(folder).filter((name) => name.endsWith('~'))).toEqual([]);
  });
});
