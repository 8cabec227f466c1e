/** Loads and stores of mapped registers, by a program in C that checks itself. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { available, canDropPrivilege, have, skip } from '../skip.js';
import { until } from '../until.js';
import { edu, iopf, nvme, type RunResult, repository, runIopf } from './run-iopf.js';

const address = '0000:05:00.0';
const example = join(repository, 'examples/registers');
const device = `recorded@${address},file=${join(example, 'registers.yaml')}`;
const folder = mkdtempSync(join(tmpdir(), 'test-registers-'));
chmodSync(folder, 0o755); // another user runs what is in it
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The path of the compiled program, or null. */
function compile(name: string, flags: readonly string[]): string | null {
  const path = join(folder, name);
  const source = join(example, 'registers.c');
  const { status, stderr } = spawnSync(
    'cc',
    ['-O1', '-Wall', '-Werror', '-pthread', '-o', path, source, ...flags],
    { encoding: 'utf8' },
  );
  // What is missing is the library to link with; anything else is wrong here.
  if (status !== 0 && !flags.includes('-static')) throw new Error(stderr);
  return available(status === 0, `registers, ${name}`, stderr) ? path : null;
}

function compileGo(): string | null {
  const path = join(folder, 'go');
  const source = join(repository, 'test/exec/programs/registers.go');
  const { status, stderr, error } = spawnSync('go', ['build', '-o', path, source], {
    encoding: 'utf8',
    env: {
      ...process.env,
      GOCACHE: join(folder, 'go-cache'),
      GO111MODULE: 'off',
      CGO_ENABLED: '0',
    },
  });
  return available(status === 0, 'registers, in Go (golang-go)', stderr ?? `${error}`)
    ? path
    : null;
}

const canCompile = process.arch === 'x64' && have('cc', 'registers that are mapped');
const program = canCompile ? compile('registers', []) : null;
const fixed = canCompile ? compile('static', ['-static']) : null;
const earlyThread = join(repository, 'test/exec/programs/early-thread.S');
const early = canCompile ? compile('early', ['-static', earlyThread, '-Wl,-e,early_thread']) : null;
const taken = canCompile
  ? compile('taken', [
      ...['-no-pie', join(repository, 'test/exec/programs/taken-address.S')],
      '-Wl,--section-start=.taken=0x6ffff0000000',
    ])
  : null;
const inGo = canCompile ? compileGo() : null;

async function run(words: readonly string[], options: readonly string[] = []): Promise<RunResult> {
  return runIopf(['--device', device, ...options], words);
}

describe.skipIf(program === null)('a program that maps registers', { timeout: 60_000 }, () => {
  test('finds each access answered as the device does', async () => {
    const { code, stdout, stderr } = await run([program!, address]);
    expect(stdout, stderr).toBe('');
    expect(code).toBe(0);
  });

  test.skipIf(fixed === null)('may be linked statically', async () => {
    const { code, stdout, stderr } = await run([fixed!, address]);
    expect(stdout, stderr).toBe('');
    expect(code).toBe(0);
  });

  test.skipIf(!canDropPrivilege('registers without privilege'))(
    'may be run by a user without privilege',
    () => {
      const user = ['--reuid', '65534', '--regid', '65534', '--clear-groups'];
      const exec = [process.execPath, iopf, 'exec', '--quiet', '--device', device, '--'];
      const ran = spawnSync('setpriv', [...user, ...exec, program!, address], { encoding: 'utf8' });
      expect(ran.stdout, ran.stderr).toBe('');
      expect(ran.status).toBe(0);
    },
  );

  test.skipIf(inGo === null)('may be written in Go', async () => {
    const { code, stdout, stderr } = await run([inGo!, address]);
    expect(stdout, stderr).toBe('');
    expect(code).toBe(0);
  });

  test.skipIf(early === null)('may have a thread before its first call', async () => {
    const { code, stdout, stderr } = await run([early!, address, 'kinds', 'handlers']);
    expect(stdout, stderr).toBe('');
    expect(code).toBe(0);
  });

  test('may be one whose memory cannot be written through /proc', (context) => {
    const exec = [process.execPath, iopf, 'exec', '--quiet', '--device', device, '--'];
    const words = [...exec, program!, address, 'kinds', 'threads', 'processes', 'faults'];
    const script =
      'mount -o remount,bind,ro /proc && ! echo >/proc/self/comm && echo read-only && exec "$@"';
    const ran = spawnSync('unshare', ['--mount', 'sh', '-c', script, 'sh', ...words], {
      encoding: 'utf8',
    });
    if (!ran.stdout.includes('read-only'))
      skip(context, `/proc cannot be made read-only here: ${ran.stderr}`);
    expect(ran.stdout, ran.stderr).toBe('read-only\n');
    expect(ran.status).toBe(0);
  });

  const canTrace = have('strace', 'registers under strace');
  test.skipIf(!canTrace)('can be traced', async () => {
    const trace = join(folder, 'strace.txt');
    const parts = ['kinds', 'threads', 'handlers', 'processes'];
    const { code, stdout, stderr } = await run([
      ...['strace', '-f', '-o', trace],
      ...[program!, address, ...parts],
    ]);
    expect(stdout, stderr).toBe('');
    expect(code).toBe(0);
  });

  test.skipIf(!have('valgrind', 'registers under valgrind'))('can be run by valgrind', async () => {
    // What the other parts check, valgrind does otherwise (docs/exec.md).
    const { code, stdout, stderr } = await run([
      ...['valgrind', '-q'],
      ...[program!, address, 'vectors', 'strings', 'handlers'],
    ]);
    expect(stdout, stderr).toBe('');
    expect(code).toBe(0);
  });

  const canDebug = have('gdb', 'registers under gdb');
  test.skipIf(!canDebug)('can be debugged while it runs', async (context) => {
    const words = ['exec', '--quiet', '--device', device, '--', program!, address, 'long'];
    const running = spawn(process.execPath, [iopf, ...words], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let said = '';
    running.stdout.on('data', (text) => {
      said += text;
    });
    const ended = once(running, 'close');
    await until(() => said.endsWith('\n'), 'the program says its number');
    // After 20 turns of its loop, and so after 20 registers.
    const commands = [
      'handle SIGSEGV nostop noprint pass',
      'break poll',
      'ignore 1 20',
      'continue',
    ];
    const gdb = spawnSync(
      'gdb',
      ['-batch', '-p', said.trim(), ...[...commands, 'detach'].flatMap((line) => ['-ex', line])],
      { encoding: 'utf8' },
    );
    running.stdin.end();
    const [code] = await ended;
    if (/ptrace: Operation not permitted/.test(gdb.stderr))
      skip(context, 'this user may not attach gdb');
    expect(gdb.stdout).toMatch(/Breakpoint 1, .*poll.*detached/s);
    expect(said).toMatch(/^\d+\n$/);
    expect(code).toBe(0);
  });

  test('ends at an instruction that is not known, which is named', async () => {
    const { code, stderr } = await run([program!, address, 'unknown']);
    expect(code).toBe(128 + 11);
    expect(stderr).toMatch(
      new RegExp(
        `^iopf: recorded ${address}: BAR 0 \\+ 0x0 was touched by an instruction that cannot be ` +
          `done for a register: cvtsi2sd xmm0,dword \\[\\w+\\] \\(f20f2a\\w+\\), at 0x\\w+ of process \\d+`,
        'm',
      ),
    );
  });

  test('is told why it cannot map them with --traps off', async () => {
    const { code, stderr } = await run([program!, address], ['--traps', 'off']);
    expect(code).toBe(101);
    expect(stderr).toMatch(
      `iopf: recorded ${address}, BAR 0: a mapping of [0x0, 0x2000) was refused: registers there ` +
        'must answer each access, and nothing traps with --traps off. ' +
        'The program can map nothing of it, and reach all of it by pread and pwrite',
    );
  });

  test('is told why it cannot map them where its memory has no room for the handler', async () => {
    const { code, stderr } = await run([taken!, address]);
    expect(code).toBe(101);
    expect(stderr).toMatch(
      new RegExp(
        `^iopf: recorded ${address}, BAR 0: a mapping of \\[0x0, 0x2000\\) was refused: registers ` +
          'there must answer each access, and process \\d+ takes no traps: its memory has no room at ' +
          '0x6ffff0000000, or allows no code there. ' +
          'The program can map nothing of it, and reach all of it by pread and pwrite',
        'm',
      ),
    );
  });

  test('ends as a program does that never mapped any', async () => {
    const plain = await runIopf(['--device', `edu@${edu}`], ['sh', '-c', 'kill -SEGV $$']);
    expect(plain.code).toBe(128 + 11);
    expect(plain.summary).toMatchObject({ exitCode: null, signal: 'SIGSEGV' });
  });

  test('leaves a core where it crashes, as it does elsewhere', async () => {
    const cores = mkdtempSync(join(folder, 'cores-'));
    const script = 'cd "$0" && ulimit -c "$(ulimit -H -c)" && kill -SEGV $$';
    spawnSync('sh', ['-c', script, cores]);
    const elsewhere = readdirSync(cores).length;
    for (const name of readdirSync(cores)) rmSync(join(cores, name));
    const { code } = await runIopf(['--device', `edu@${edu}`], ['sh', '-c', script, cores]);
    expect(code).toBe(128 + 11);
    expect(readdirSync(cores)).toHaveLength(elsewhere);
  });
});

test('a program that maps nothing is as it was', async () => {
  const { code, stdout } = await runIopf(['--device', `nvme@${nvme}`], ['echo', 'as it was']);
  expect([code, stdout]).toEqual([0, 'as it was\n']);
});
