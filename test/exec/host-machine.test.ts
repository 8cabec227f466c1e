import { describe, expect, test } from 'vitest';
import { checkHost, type Host } from '../../src/exec/run/host-machine.js';
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
