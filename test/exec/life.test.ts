/** How runs begin and end: what is refused, what is passed on, and that nothing is left behind. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { edu, iopf, nvme, runIopf } from './run-iopf.js';

const folder = mkdtempSync(join(tmpdir(), 'test-life-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const isAlive = (pid: number): boolean => {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let tries = 0; tries < 250; tries++) {
    if (condition()) return;
    await new Promise((later) => setTimeout(later, 20));
  }
  throw new Error(`timeout: ${what}`);
}

describe('a command line that cannot be used is one message and exit code 2:', () => {
  const machine = join(folder, 'machine.yaml');
  writeFileSync(
    machine,
    'groups:\n  - number: 3\n    devices:\n      - kind: nvme\n        adress: 0000:01:00.0\n',
  );
  const bad = join(folder, 'bad.yaml');
  writeFileSync(bad, 'groups: [\n  - {');
  test.each([
    [
      'an unknown device kind',
      ['--device', `floppy@${edu}`],
      'true',
      /unknown device kind "floppy".*kinds: .*nvme/,
    ],
    ['a bad PCI address', ['--device', 'nvme@0000:02:0.0'], 'true', /"0000:02:0\.0" is no PCI address/],
    ['an unknown device option', ['--device', `nvme@${nvme},sise=64M`], 'true', /sise.*size/],
    ['a bad device option', ['--device', `nvme@${nvme},size=64Q`], 'true', /size.*64Q|64Q/],
    [
      'two devices at one address',
      ['--device', `edu@${edu}`, '--device', `nvme@${edu}`],
      'true',
      /two devices at/,
    ],
    ['a missing program', [], 'no-such-program', /program not found: no-such-program/],
    ['a program that is no program', [], '/etc/passwd', /\/etc\/passwd is not executable/],
    [
      'a missing machine file',
      ['--machine', '/nonexistent.yaml'],
      'true',
      /cannot read the machine file.*ENOENT/,
    ],
    [
      'a wrong key in a machine file, with its line',
      ['--machine', machine],
      'true',
      /machine\.yaml:5: .*"adress"; allowed here: kind, address/,
    ],
    ['a machine file that is no YAML', ['--machine', bad], 'true', /bad\.yaml:\d+: /],
    ['a wrong mode', ['--iopf', 'maybe'], 'true', /Allowed choices are auto, ask, off/],
    ['a wrong pre-map length', ['--premap', '0'], 'true', /1 to 512/],
  ])('%s', async (_, options, program, message) => {
    const run = await runIopf(options, [program]);
    expect(run.stderr).toMatch(message);
    expect(run.stderr.trim().split('\n')).toHaveLength(1);
    expect(run.code).toBe(2);
    expect(run.summary).toBeNull();
  });

  test('iopf inside iopf', async () => {
    const run = await runIopf([], [process.execPath, iopf, 'exec', '--', 'true']);
    expect(run.stderr).toMatch(/already runs under a seccomp filter with a listener/);
    expect(run.code).toBe(2);
  });
});

describe('the end of a program is passed on:', () => {
  test('its exit code', async () => {
    const run = await runIopf([], ['sh', '-c', 'exit 41']);
    expect(run.code).toBe(41);
    expect(run.summary).toMatchObject({ exitCode: 41, signal: null });
  });

  test('the signal that killed it, as 128 + number', async () => {
    const run = await runIopf([], ['sh', '-c', 'kill -9 $$']);
    expect(run.code).toBe(137);
    expect(run.summary).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
  });

  test('SIGTERM to iopf reaches the program, which may handle it', async () => {
    const child = spawn(
      process.execPath,
      [
        iopf,
        'exec',
        '--quiet',
        '--',
        'sh',
        '-c',
        'trap "exit 33" TERM; echo up; while :; do sleep 0.05; done',
      ],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const code = new Promise((done) => child.on('close', done));
    await new Promise((up) => child.stdout.once('data', up));
    child.kill('SIGTERM');
    expect(await code).toBe(33);
  });
});

test('a program does not see what Node did to signals and descriptors', async () => {
  const status = 'grep -E "^Sig(Ign|Blk)" /proc/self/status; ls /proc/self/fd | wc -l; ulimit -n';
  const plain = spawn('sh', ['-c', status], { stdio: ['ignore', 'pipe', 'inherit'] });
  let expected = '';
  for await (const text of plain.stdout) expected += text;
  const run = await runIopf([], ['sh', '-c', status]);
  const lines = (text: string): string[] => text.trim().split('\n');
  // The limit is compared where the test itself runs under Node, which raised it: only signals and descriptors are equal.
  expect(lines(run.stdout).slice(1, 3)).toEqual(lines(expected).slice(1, 3));
  expect(lines(run.stdout)[1]).toMatch(/SigIgn:\s+0+$/);
});

test('a descriptor that our caller left open reaches the program', async () => {
  const child = spawn(
    'sh',
    ['-c', `"$0" "$1" exec --quiet -- sh -c 'cat <&5' 5<"$2"`, process.execPath, iopf, '/etc/hostname'],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let text = '';
  for await (const piece of child.stdout) text += piece;
  expect(text).toBe(readFileSync('/etc/hostname', 'utf8'));
});

test('kill -9 of iopf leaves no process and no file behind', async () => {
  const before = readdirSync(tmpdir()).filter((name) => name.startsWith('iopf-'));
  const child = spawn(
    process.execPath,
    [
      iopf,
      'exec',
      '--quiet',
      '--device',
      `edu@${edu}`,
      '--',
      'sh',
      '-c',
      'sleep 60 & echo $! $$; (setsid sleep 61 & echo $!); wait',
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let text = '';
  child.stdout.on('data', (piece) => {
    text += piece;
  });
  await until(() => text.trim().split(/\s+/).length === 3, 'three processes');
  const pids = text.trim().split(/\s+/).map(Number);
  expect(pids.map(isAlive)).toEqual([true, true, true]);
  child.kill('SIGKILL');
  await until(() => !pids.some(isAlive), 'the processes end');
  await until(
    () => readdirSync(tmpdir()).filter((name) => name.startsWith('iopf-')).length <= before.length,
    'the directory goes',
  );
});
