/** Whom a refused run names, and what it says to do. */
import { expect, test } from 'vitest';
import { Errno } from '../../src/abi/errno.js';
import { filterRefusal } from '../../src/exec/run/launch.js';
import { type Confinement, isRefusal, whoRefuses } from '../../src/exec/run/refusal.js';

const CALL = 'process_vm_readv';
const nobody: Confinement = { filtered: false, ptraceScope: null, modules: [] };

test.each<[string, Partial<Confinement>, RegExp]>([
  [
    'Yama, until the next boot',
    { ptraceScope: 3 },
    /Yama .*ptrace_scope is 3.*; boot with 0 or 1$/,
  ],
  ['Yama', { ptraceScope: 2 }, /Yama .*ptrace_scope is 2\); set it to 1 \(sysctl [^)]+\), or/],
  ['users that differ', { ptraceScope: 1 }, /a stranger .*; run iopf as the program’s user, or/],
  ['a security module', { modules: ['selinux'] }, /security module does \(selinux: see its log\)/],
])('%s', (_, confinement, message) => {
  const said = whoRefuses(CALL, Errno.EPERM, () => 0, { ...nobody, ...confinement });
  expect(said).toMatch(message);
  expect(said.startsWith('process_vm_readv: EPERM: ')).toBe(true);
});

test('another supervisor of system calls', () => {
  expect(filterRefusal(0, Errno.EBUSY)).toMatch(/another supervisor .*; run iopf outside of it$/);
});

test('EPERM, EACCES and ENOSYS mean that somebody does not want it, and nothing else does', () => {
  const meaning = Object.values(Errno).filter(isRefusal);
  expect(meaning).toEqual([Errno.EPERM, Errno.EACCES, Errno.ENOSYS]);
});
