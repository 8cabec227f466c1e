import { describe, expect, test } from 'vitest';
import { Errno } from '../../src/abi/errno.js';
import { type Confinement, profileRefusal, whoRefuses } from '../../src/exec/run/refusal.js';
import { close } from '../../src/mm/process/libc.js';

const free: Confinement = { filtered: false, ptraceScope: null, modules: [] };
/** The kernel finds fault with the arguments (EBADF): nobody refuses the call itself. */
const allowed = (): number => close(-1);

describe('a refusal to look into another process is put down to', () => {
  test.each<[string, Partial<Confinement>, RegExp]>([
    [
      'Yama, where it takes a capability',
      { ptraceScope: 2 },
      /^process_vm_readv: EPERM: Yama lets only CAP_SYS_PTRACE .*ptrace_scope is 2.*sysctl kernel\.yama\.ptrace_scope=1/,
    ],
    [
      'Yama, where nobody may',
      { ptraceScope: 3 },
      /^process_vm_readv: EPERM: Yama lets nobody .*until the next boot/,
    ],
    [
      'a security module, where Yama allows it',
      { ptraceScope: 1, modules: ['apparmor'] },
      /a stranger to the program .*, or a security module does \(apparmor: see its log\)/,
    ],
    [
      'Yama, and not a filter that lets the call through',
      { filtered: true, ptraceScope: 2 },
      /: Yama lets only CAP_SYS_PTRACE/,
    ],
    ['the kernel, where nothing else is there', {}, /: the kernel takes iopf for a stranger/],
  ])('%s', (_, confinement, text) => {
    const said = whoRefuses('process_vm_readv', Errno.EPERM, allowed, { ...free, ...confinement });
    expect(said).toMatch(text);
    expect(said).not.toContain('\n');
  });
});

test('no profile refuses a call that gets as far as its arguments', () => {
  const filtered = { ...free, filtered: true };
  expect(profileRefusal('process_madvise', Errno.EPERM, allowed, filtered)).toBeNull();
});
