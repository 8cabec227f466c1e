/** `iopf exec` in containers, with no more rights than a container has unless it asks for some. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { have, moreIsAsked } from '../../skip.js';
import { edu } from '../run-iopf.js';
import {
  type ContainerOptions,
  canRunContainers,
  IOPF,
  runInContainer,
  SHARED,
} from './container.js';

const shared = mkdtempSync(join(tmpdir(), 'test-container-shared-'));
chmodSync(shared, 0o777);
afterAll(() => rmSync(shared, { recursive: true, force: true }));

/** The first two are what most have. */
const isMore = moreIsAsked('rootless containers, and those without rules');
const canRun = have('cc', 'containers') && canRunContainers('exec in containers');

describe.skipIf(!canRun)('in a container, read-only but for /tmp,', () => {
  beforeAll(() => {
    for (const name of ['torture', 'memory']) {
      const source = join(import.meta.dirname, `../programs/${name}.c`);
      const output = join(shared, name);
      expect(spawnSync('cc', ['-O1', '-pthread', '-o', output, source]).status).toBe(0);
    }
  });

  const torture = `${SHARED}/torture`;
  const iopf = `${IOPF}/bin/iopf`;
  const device = ['--quiet', '--device', `edu@${edu}`];
  const docker = { rules: true };

  const containers: [string, ContainerOptions][] = [
    ["as root under Docker's rules", docker],
    [
      "as user 1000 under Docker's rules, with no new privileges and 40 tasks at most",
      { rules: true, user: 1000, noNewPrivileges: true, pidsLimit: 40 },
    ],
    ["rootless under Docker's rules", { rules: true, rootless: true }],
    ['as root without rules', { rules: false }],
    ['as user 1000 without rules', { rules: false, user: 1000 }],
  ];
  test.each(isMore ? containers : containers.slice(0, 2))(
    'everything works %s',
    async (_, options) => {
      const smoke = `${IOPF}/test/exec/container/smoke.sh`;
      const run = await runInContainer(options, shared, ['sh', smoke, IOPF, SHARED]);
      expect(run.stdout).toMatch(/^(ok: .*\n)+(SKIPPED: .*\n)?$/);
      expect(run.stderr).toBe('');
      expect(run.code).toBe(0);
    },
  );

  test('the rules and the limit of tasks are in force', async () => {
    const rights = [torture, 'rights', edu];
    const denied = await runInContainer(docker, shared, rights);
    expect(denied.stdout).toBe('EPERM\nEPERM\nEPERM\nok\n');
    const allowed = await runInContainer({ rules: false }, shared, rights);
    expect(allowed.stdout).toBe('EBADF\nEBADF\nEINVAL\nok\n');
    const many = 'for i in $(seq 40); do sleep 60 & done; kill $(jobs -p)';
    const limited = await runInContainer({ rules: true, pidsLimit: 40 }, shared, [
      'sh',
      '-c',
      many,
    ]);
    expect(limited.stderr).toMatch(/fork/i);
  });

  test('the limit of open files is the container’s, with iopf as its first process', async () => {
    const program = ['sh', '-c', `ulimit -n; exec ${torture} basic ${edu}`];
    const run = await runInContainer({ rules: true, openFiles: 256 }, shared, [
      iopf,
      'exec',
      ...device,
      '--',
      ...program,
    ]);
    expect(run).toEqual({ code: 7, stdout: '256\nok\n', stderr: '' });
  });

  test.each<[string, ContainerOptions, string, RegExp]>([
    [
      'is refused where taking it takes a right, and the user is told which',
      docker,
      'EBADF\nok\n',
      /^iopf: process \d+ uses an eventfd \(\d+\) that no process of this run made, .*: pidfd_getfd: EPERM: a seccomp profile forbids it, .*--cap-add SYS_PTRACE.*\n$/,
    ],
    ['works where that is allowed', { rules: false }, 'ok\n', /^$/],
  ])('an eventfd from outside of the run %s', async (_, options, stdout, stderr) => {
    const command = [iopf, 'exec', ...device, '--', torture, 'given-eventfd', edu];
    const sender = [
      'import array, os, socket, subprocess, sys',
      'ours, theirs = socket.socketpair()',
      'os.dup2(theirs.fileno(), 9)',
      'socket.send_fds(ours, [b"x"], [os.eventfd(0)])',
      'sys.exit(subprocess.run(sys.argv[1:], pass_fds=[9]).returncode)',
    ].join('\n');
    const run = await runInContainer(options, shared, ['python3', '-c', sender, ...command]);
    expect(run).toMatchObject({ code: 7, stdout });
    expect(run.stderr).toMatch(stderr);
  });

  test.each([
    ['before it opens VFIO', ['setpriv', '--reuid=65534', torture, 'basic', edu]],
    ['with VFIO open', [`${SHARED}/memory`, 'lock as other user', edu, 'off']],
  ])(
    'a program that becomes another user %s is not served, and the user is told',
    async (_, program) => {
      const command = [iopf, 'exec', ...device, '--iopf', 'off', '--', ...program];
      const run = await runInContainer(docker, shared, command);
      expect(run.stderr).toMatch(
        /^iopf: task \d+ cannot use VFIO, .*: process_vm_readv: EPERM: .*; run iopf as the program’s user, or with CAP_SYS_PTRACE\n$/,
      );
      expect(run.code).toBe(1);
    },
  );

  test.each<[string, readonly string[], readonly string[], RegExp]>([
    [
      'seccomp listeners',
      ['seccomp'],
      [],
      /^iopf: cannot filter the program: seccomp: EPERM: a seccomp profile forbids it, .*\n$/,
    ],
    [
      "the program's memory",
      ['process_vm_readv'],
      [],
      /^iopf: cannot serve the program: process_vm_readv: EPERM: a seccomp profile forbids it, .*\n$/,
    ],
    [
      'paging out for --reclaim',
      [],
      ['--reclaim', '300M'],
      /^iopf: --reclaim cannot page memory out: process_madvise: EPERM: a seccomp profile forbids it, .*--reclaim-scan.*\n$/,
    ],
  ])('a profile that forbids %s is named in one line', async (_, denied, options, message) => {
    const command = [iopf, 'exec', ...device, ...options, '--', 'echo', 'ran'];
    const run = await runInContainer({ rules: true, denied }, shared, command);
    expect(run.stderr).toMatch(message);
    expect([run.code, run.stdout]).toEqual([125, '']);
  });
});
