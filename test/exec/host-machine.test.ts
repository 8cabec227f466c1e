import { describe, expect, test } from 'vitest';
import { firstFreeGroup } from '../../src/exec/machine/sysfs/host-numbers.js';
import {
  callersDescriptorLimit,
  cannotRun,
  checkHost,
  descriptorWindow,
  findProgram,
  type Host,
} from '../../src/exec/run/host-machine.js';
import { UserError } from '../../src/input/user-error.js';

const kunpeng: Host = {
  platform: 'linux',
  arch: 'arm64',
  pageBytes: 4096,
  release: '5.14.0-kunpeng',
  seccompActions: 'kill_process trap errno user_notif allow\n',
};

/** The message to the user, or null. */
function refusal(change: Partial<Host>): string | null {
  try {
    checkHost({ ...kunpeng, ...change });
    return null;
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    return (error as UserError).message;
  }
}

test.each(['x64', 'arm64'])('%s with pages of 4 KiB and Linux 5.14 will do', (arch) => {
  expect(refusal({ arch })).toBe(null);
});

describe('a machine that will not do is refused in one line:', () => {
  test.each<[string, Partial<Host>, RegExp]>([
    ['pages of 16 KiB', { pageBytes: 16384 }, /needs .* pages of 4 KiB, and this one has 16 KiB$/],
    ['pages of 64 KiB', { pageBytes: 65536 }, /needs .* pages of 4 KiB, and this one has 64 KiB$/],
    ['an unknown architecture', { arch: 'riscv64' }, /x86-64 and arm64, not of riscv64$/],
    ['an old kernel', { release: '5.10.0-28-arm64' }, /needs Linux 5\.14 or later, not 5\.10/],
    ['another system', { platform: 'darwin' }, /needs Linux, not darwin$/],
    ['no user notification', { seccompActions: 'errno allow' }, /no SECCOMP_RET_USER_NOTIF/],
  ])('%s', (_, change, message) => {
    expect(refusal(change)).toMatch(message);
    expect(refusal(change)).not.toContain('\n');
  });
});

describe('descriptors of VFIO files lie', () => {
  test('in the last 64 numbers below the soft limit, or 1024, or in the upper half of few', () => {
    const window = (soft: number) => descriptorWindow({ soft, hard: 4096 });
    expect(window(4096)).toEqual({ first: 960, end: 1024 });
    expect(window(1024)).toEqual({ first: 960, end: 1024 });
    expect(window(512)).toEqual({ first: 448, end: 512 });
    expect(window(64)).toEqual({ first: 32, end: 64 });
    expect(window(11)).toEqual({ first: 6, end: 11 });
  });

  test('nowhere where the hard limit leaves iopf fewer than 96', () => {
    expect(descriptorWindow({ soft: 96, hard: 96 }).end).toBe(96);
    expect(() => descriptorWindow({ soft: 95, hard: 95 })).toThrow(UserError);
  });

  test('below the soft limit that bin/iopf has noted, once', () => {
    const { soft, hard } = callersDescriptorLimit();
    for (const [noted, expected] of [
      ['100', 100],
      ['0', soft],
      ['unlimited', soft],
      [`${soft + 1}`, soft],
    ] as const) {
      process.env['IOPF_OPEN_FILES'] = noted;
      expect(callersDescriptorLimit()).toEqual({ soft: expected, hard });
      expect(process.env['IOPF_OPEN_FILES']).toBeUndefined();
    }
  });
});

describe('a program', () => {
  const exitCode = (run: () => unknown): number | null => {
    try {
      run();
    } catch (error) {
      return (error as UserError).exitCode;
    }
    return null;
  };

  test('is found in PATH or by its path, as execvp finds it', () => {
    expect(findProgram('sh')).toMatch(/^\/.*\/sh$/);
    expect(findProgram('/bin/sh')).toBe('/bin/sh');
  });

  test('that is none has the exit code of a shell: 127 not found, 126 not executable', () => {
    expect(exitCode(() => findProgram('no-such-program'))).toBe(127);
    expect(exitCode(() => findProgram('/no/such/program'))).toBe(127);
    expect(exitCode(() => findProgram('/etc/passwd'))).toBe(126);
    expect(exitCode(() => findProgram('/bin'))).toBe(126);
    expect(cannotRun('p', 'ENOENT', '').exitCode).toBe(127);
    expect(cannotRun('p', 'ENOEXEC', '').exitCode).toBe(126);
  });
});

test('groups get numbers from 1 on, above those of the host', () => {
  expect(firstFreeGroup()).toBeGreaterThanOrEqual(1);
  expect(firstFreeGroup('/no/such/folder')).toBe(1);
});
