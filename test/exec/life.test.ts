/** How runs begin and end: what is refused, what is passed on, and that nothing is left behind. */
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { have } from '../skip.js';
import { until } from '../until.js';
import { edu, iopf, nvme, program, repository, runIopf } from './run-iopf.js';

/** The command as it is installed. */
const installed = join(repository, 'bin/iopf');
const folder = mkdtempSync(join(tmpdir(), 'test-life-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const isAlive = (pid: number): boolean => {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

describe('a command line that cannot be used is one message and exit code 125 (2 without a program):', () => {
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
    [
      'a bad PCI address',
      ['--device', 'nvme@0000:02:0.0'],
      'true',
      /"0000:02:0\.0" is not a PCI address/,
    ],
    ['an unknown device option', ['--device', `nvme@${nvme},sise=64M`], 'true', /sise.*size/],
    ['a bad device option', ['--device', `nvme@${nvme},size=64Q`], 'true', /size.*64Q|64Q/],
    [
      'two devices at one address',
      ['--device', `edu@${edu}`, '--device', `nvme@${edu}`],
      'true',
      /there is already a device at 0000:00:04\.0/,
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
    [
      'reclaim of pinned memory',
      ['--iopf', 'off', '--reclaim', '300M'],
      'true',
      /--reclaim with --iopf off: memory that is mapped for DMA is then pinned/,
    ],
    [
      'a look at memory that cannot leave',
      ['--iopf', 'off', '--reclaim-scan', '100'],
      'true',
      /--reclaim-scan with --iopf off/,
    ],
    [
      'a wrong size',
      ['--reclaim', '300Q'],
      'true',
      /--reclaim.*'300Q'.*a number of bytes, .* above 0/,
    ],
    [
      'no time between two looks',
      ['--reclaim-scan', '0'],
      'true',
      /--reclaim-scan.*milliseconds from 1/,
    ],
    ['a wrong pre-map length', ['--premap', '0'], 'true', /1 to 512/],
    ['a pre-map length in another form', ['--premap', '1e2'], 'true', /1 to 512/],
    [
      'an option given twice',
      ['--device', `nvme@${nvme},size=64M,size=32M`],
      'true',
      /"size" is given twice/,
    ],
  ])('%s', async (_, options, program, message) => {
    const run = await runIopf(options, [program]);
    expect(run.stderr).toMatch(message);
    expect(run.stderr).toMatch(/^iopf: .*\n$/);
    const [, reason] = /(not found|not executable)/.exec(run.stderr) ?? [];
    expect(run.code).toBe(reason === undefined ? 125 : reason === 'not found' ? 127 : 126);
    expect(run.summary).toBeNull();
  });

  test.each([
    ['an unknown command', ['chekc'], "unknown command 'chekc' (Did you mean check?)"],
    ['an unknown option', ['--verison'], "unknown option '--verison' (Did you mean --version?)"],
    ['exec without a program', ['exec'], "missing required argument 'program'"],
    [
      'an unknown option of exec',
      ['exec', '--jsom'],
      "unknown option '--jsom' (Did you mean --json?)",
    ],
    ['compare without an input', ['compare'], "missing required argument 'input'"],
    [
      'an unknown option of check',
      ['check', '--lits'],
      "unknown option '--lits' (Did you mean --list?)",
    ],
    [
      'two files to trace',
      ['trace', 'a', 'b'],
      "too many arguments for 'trace'. Expected 1 argument but got 2.",
    ],
  ])('%s', (_, words, message) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [iopf, ...words], {
      encoding: 'utf8',
    });
    expect({ status, stdout, stderr }).toEqual({
      status: words[0] === 'exec' ? 125 : 2,
      stdout: '',
      stderr: `iopf: ${message}\n`,
    });
  });

  test('iopf inside iopf', async () => {
    const run = await runIopf([], [process.execPath, iopf, 'exec', '--', 'true']);
    expect(run.stderr).toMatch(/already runs under a seccomp filter with a listener/);
    expect(run.code).toBe(125);
  });
});

describe('a program that is there and does not start is one message and a shell’s exit code:', () => {
  test.each([
    [
      'its interpreter is missing',
      '/nonexistent/sh',
      /^iopf: cannot run .*script: ENOENT \(is the interp.*\n$/,
      127,
    ],
    ['its interpreter is no program', '/etc', /^iopf: cannot run .*script: EACCES\n$/, 126],
  ])('%s', async (_, interpreter, message, code) => {
    const script = join(folder, 'script');
    writeFileSync(script, `#!${interpreter}\n`, { mode: 0o755 });
    const run = await runIopf([], [script]);
    expect(run.stderr).toMatch(message);
    expect(run.code).toBe(code);
    expect(run.summary).toBeNull();
  });

  test('its environment is too long', async () => {
    // Longer than the kernel takes from anybody, but not from iopf, which begins without it.
    const before = 'for (let i = 0; i < 80; i++) process.env["LONG" + i] = "x".repeat(1e5)';
    const words = ['--import', `data:text/javascript,${before}`, iopf, 'exec', '--', 'true'];
    const { status, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 126, stderr: 'iopf: cannot run true: E2BIG\n' });
  });
});

test('a script that names no interpreter is the shell’s, as execvp has it', async () => {
  const script = join(folder, 'plain-script');
  writeFileSync(script, 'echo "$0 $1"; exit 5\n', { mode: 0o755 });
  const run = await runIopf([], [script, 'word']);
  expect(run.stdout).toBe(`${script} word\n`);
  expect(run.code).toBe(5);
});

test('the environment reaches the program as it is, also what is no text', () => {
  const command = '"$0" "$1" exec --quiet -- env | grep -a ^ODD= | od -An -tx1';
  const { stdout } = spawnSync(
    'sh',
    ['-c', `ODD=$(printf '\\377') ${command}`, process.execPath, iopf],
    {
      encoding: 'utf8',
    },
  );
  expect(stdout.trim()).toBe('4f 44 44 3d ff 0a');
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

describe('an engine that is asked to end', () => {
  /** `everyMs`: the signal comes again and again. */
  const ask = async (mode: string, signal: NodeJS.Signals, everyMs: number | null = null) => {
    const child = spawn(process.execPath, [program('blocked'), mode], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (piece) => {
        text += piece;
      });
    const code = new Promise((done) => child.on('close', done));
    await until(() => text === 'blocked\n', 'it blocks');
    child.kill(signal);
    const again = everyMs === null ? undefined : setInterval(() => child.kill(signal), everyMs);
    return { code: await code.finally(() => clearInterval(again)), text };
  };

  test('takes the signal', async () =>
    expect(await ask('take', 'SIGTERM')).toEqual({ code: 0, text: 'blocked\ntaken, true\n' }));

  test('and hangs in a file of the host is given up, with the exit code of the signal', async () =>
    expect(await ask('hang', 'SIGHUP')).toEqual({
      code: 129,
      text: 'blocked\niopf: the engine does not answer: a file of the host or a device takes its time; ended\n',
    }));

  test.each(['SIGINT', 'SIGTERM'] as const)(
    'and never returns is ended by %s, however often that comes',
    async (signal) => {
      const { code, text } = await ask('busy', signal, 100);
      expect(code).toBe(128 + constants.signals[signal]);
      expect(text).toMatch(/^blocked\niopf: the engine does not answer: .*; ended\n$/);
    },
  );
});

test('a program does not see what Node did to signals and limits', async () => {
  const status =
    'grep -E "^Sig(Ign|Blk)" /proc/self/status; ls /proc/self/fd | wc -l; ulimit -Sn; ulimit -Sf; env | grep -c ^IOPF_';
  const asked = async (command: string): Promise<string[]> => {
    const words = ['-c', `ulimit -Sn 512; ulimit -Sf 1000; ${command}`, installed, status];
    // The tests' own settings, such as IOPF_GUEST_KERNEL, are none of iopf's.
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !name.startsWith('IOPF_')),
    );
    const child = spawn('sh', words, { stdio: ['ignore', 'pipe', 'inherit'], env });
    let text = '';
    for await (const piece of child.stdout) text += piece;
    return text.trim().split('\n');
  };
  const plain = await asked('sh -c "$1"');
  expect(await asked(`exec "$0" exec --quiet --device edu@${edu} -- sh -c "$1"`)).toEqual(plain);
  expect(plain.slice(-3)).toEqual(['512', '1000', '0']);
});

test('a descriptor that our caller left open reaches the program', async () => {
  const child = spawn(
    'sh',
    [
      '-c',
      `"$0" "$1" exec --quiet -- sh -c 'cat <&5' 5<"$2"`,
      process.execPath,
      iopf,
      '/etc/hostname',
    ],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let text = '';
  for await (const piece of child.stdout) text += piece;
  expect(text).toBe(readFileSync('/etc/hostname', 'utf8'));
});

test('kill -9 of iopf leaves no process and no file behind', async () => {
  const place = join(folder, 'kill');
  mkdirSync(place);
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
    { stdio: ['ignore', 'pipe', 'ignore'], env: { ...process.env, TMPDIR: place } },
  );
  let text = '';
  child.stdout.on('data', (piece) => {
    text += piece;
  });
  await until(() => text.trim().split(/\s+/).length === 3, 'three processes');
  const pids = text.trim().split(/\s+/).map(Number);
  expect(pids.map(isAlive)).toEqual([true, true, true]);
  expect(readdirSync(place)).toHaveLength(1);
  child.kill('SIGKILL');
  await until(() => !pids.some(isAlive), 'the processes end');
  await until(() => readdirSync(place).length === 0, 'the directory goes');
});

test('kill -9 of iopf ends also a forked process that never made a call of ours', async () => {
  const busy =
    'import os,time\npid=os.fork()\nprint(os.getpid() if pid else os.getpid(), flush=True)\ntime.sleep(60)';
  const child = spawn(process.execPath, [iopf, 'exec', '--quiet', '--', 'python3', '-c', busy], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let text = '';
  child.stdout.on('data', (piece) => {
    text += piece;
  });
  await until(() => text.trim().split(/\s+/).length === 2, 'two processes');
  const pids = text.trim().split(/\s+/).map(Number);
  child.kill('SIGKILL');
  await until(() => !pids.some(isAlive), 'both end');
});

test('a job that is stopped stops as a whole, and goes on', async () => {
  const child = spawn(
    process.execPath,
    [iopf, 'exec', '--quiet', '--', 'sh', '-c', 'echo up; read line; exit 6'],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
      detached: true,
    },
  );
  const code = new Promise((done) => child.on('close', done));
  await new Promise((up) => child.stdout.once('data', up));
  const isStopped = (): boolean =>
    /^State:\s+T/m.test(readFileSync(`/proc/${child.pid}/status`, 'utf8'));
  process.kill(-child.pid!, 'SIGTSTP');
  await until(isStopped, 'iopf stops');
  process.kill(-child.pid!, 'SIGCONT');
  child.stdin.end('go on\n');
  expect(await code).toBe(6);
});

test('pipes that the program shares with iopf stay blocking ones', async () => {
  const files = [0, 1, 2].map((fd) => `/proc/self/fdinfo/${fd}`).join(' ');
  const flags = `sh -c 'sleep 0.2; grep -h flags ${files}'`;
  const shown = async (run: string): Promise<string> => {
    const command = `sleep 1 | ${run} 2>&1 | cat`;
    const child = spawn('sh', ['-c', command, process.execPath, iopf], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    for await (const piece of child.stdout) text += piece;
    return text;
  };
  expect(await shown(`"$0" "$1" exec --quiet -- ${flags}`)).toBe(await shown(flags));
});

describe('limits of the caller:', () => {
  const limited = async (limit: string): Promise<string> => {
    const command = `ulimit ${limit} && exec "$0" exec --quiet --device edu@${edu} -- ls /dev/vfio 2>&1`;
    const child = spawn('sh', ['-c', command, installed], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    for await (const piece of child.stdout) text += piece;
    return text.trim();
  };

  test.each(['-n 96', '-n 300', '-n 700', '-Sn 100', '-Sn 16'])(
    'ulimit %s is enough',
    async (limit) => expect(await limited(limit)).toBe('1\ndevices\nvfio'),
  );

  test.each([
    ['-n 95', /^iopf: the hard limit of 95 open files is too low: iopf needs 96 \(ulimit -Hn\)$/],
    ['-n 16', /^iopf: the hard limit of 16 open files is too low: iopf needs 96 \(ulimit -Hn\)$/],
  ])('ulimit %s is refused in one line', async (limit, message) =>
    expect(await limited(limit)).toMatch(message),
  );

  test.skipIf(!have('setpriv', 'a limit on file sizes'))(
    'a limit on file sizes that may not be lifted is refused in one line',
    () => {
      const command = `ulimit -f 2000; exec setpriv --bounding-set -sys_resource "$0" exec --device edu@${edu} -- true`;
      const run = spawnSync('sh', ['-c', command, installed], { encoding: 'utf8' });
      expect(run.stderr).toMatch(/^iopf: the limit of \d+ bytes on file sizes .* is too low .*\n$/);
      expect(run.status).toBe(125);
    },
  );
});

test('two runs cannot share a disk', async () => {
  const disk = join(folder, 'disk');
  const device = ['--device', `nvme@${nvme},file=${disk},size=1M`];
  const first = spawn(
    process.execPath,
    [iopf, 'exec', '--quiet', ...device, '--', 'sh', '-c', 'echo up; exec sleep infinity'],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  await new Promise((up) => first.stdout.once('data', up));
  const second = await runIopf(device, ['true']);
  first.kill('SIGTERM');
  expect(second.code).toBe(125);
  expect(second.stderr).toMatch(/disk is the disk of another run/);
});

describe('when the program has exited and a process that it left is served,', () => {
  const leave = (command: string) =>
    spawn(process.execPath, [iopf, 'exec', '--quiet', '--', 'sh', '-c', command], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });

  test('SIGTERM ends the run with the program’s exit code, and the process too', async () => {
    const child = leave('sleep infinity & echo $$ $!; exit 9');
    const code = new Promise((done) => child.on('close', done));
    const text = await new Promise<Buffer>((said) => child.stdout.once('data', said));
    const [program, left] = `${text}`.trim().split(' ').map(Number) as [number, number];
    await until(() => !existsSync(`/proc/${program}`), 'iopf has seen the program exit');
    child.kill('SIGTERM');
    expect(await code).toBe(9);
    await until(() => !isAlive(left), 'the process ends');
  });

  test('its end leaves no zombie', async () => {
    const left = 'for i in 1 2 3; do (sh -c "echo \\$\\$" &); done';
    const child = leave(`${left}; read line; exit 9`);
    const code = new Promise((done) => child.on('close', done));
    let text = '';
    child.stdout.on('data', (piece) => {
      text += piece;
    });
    await until(() => text.match(/\d+\n/g)?.length === 3, 'three processes');
    const pids = text.trim().split('\n');
    await until(() => !pids.some((pid) => existsSync(`/proc/${pid}`)), 'they are reaped');
    expect(child.exitCode).toBeNull();
    child.stdin.end('go on\n');
    expect(await code).toBe(9);
  });
});

test('a trace or summary that cannot be written is refused before anything runs', async () => {
  const run = await runIopf(['--trace', '/nonexistent/trace'], ['sh', '-c', 'echo ran']);
  expect(run.stderr).toBe('iopf: cannot write the trace /nonexistent/trace: ENOENT\n');
  expect(run.code).toBe(125);
  expect(run.stdout).toBe('');
  const later = await runIopf(['--json', '/nonexistent/summary'], ['sh', '-c', 'echo ran']);
  expect(later.stderr).toBe('iopf: cannot write /nonexistent/summary: ENOENT\n');
  expect(later.code).toBe(125);
  expect(later.stdout).toBe('');
});

test('a trace that cannot be finished is told, and the run goes on', async () => {
  const run = await runIopf(['--quiet', '--trace', '/dev/full'], ['sh', '-c', 'echo ran; exit 4']);
  expect(run.stdout).toBe('ran\n');
  expect(run.code).toBe(4);
  expect(run.stderr).toBe('iopf: the trace /dev/full is incomplete: ENOSPC\n');
});
