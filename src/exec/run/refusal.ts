/** Who refuses what a run needs of the host, and what its user can do about it. */
import { Errno, errnoName } from '../../abi/errno.js';
import { errno } from '../../mm/process/libc.js';
import { textOf } from '../../mm/process/proc.js';

/** What confines this process, as far as /proc and /sys tell. */
export interface Confinement {
  /** It runs under a seccomp filter already. */
  readonly filtered: boolean;
  /** kernel.yama.ptrace_scope; null: no Yama. */
  readonly ptraceScope: number | null;
  /** Security modules that may refuse, apart from Yama. */
  readonly modules: readonly string[];
}

/**
 * `CALL: ERRNO: who refuses it and what to do`, of a call that looks into another process. `probe`
 * makes the call with arguments that mean nothing.
 */
export function whoRefuses(
  call: string,
  code: number,
  probe: () => number,
  confinement: Confinement = confinementHere(),
): string {
  const byProfile = profileRefusal(call, code, probe, confinement);
  return byProfile ?? `${call}: ${errnoName(code)}: ${kernelRefusal(confinement)}`;
}

/**
 * The same where a seccomp profile refuses a call, else null: the kernel would find fault with the
 * arguments of `probe`, a profile refuses whatever they are.
 */
export function profileRefusal(
  call: string,
  code: number,
  probe: () => number,
  { filtered }: Confinement = confinementHere(),
): string | null {
  if (!filtered || probe() >= 0 || !isRefusal(errno())) return null;
  const capability = needsPtrace.has(call) ? ' (--cap-add SYS_PTRACE does in Docker)' : '';
  return `${call}: ${errnoName(code)}: a seccomp profile forbids it, a container's or a sandbox's; allow it there${capability}`;
}

/** What Docker's profile allows to those who have CAP_SYS_PTRACE. */
const needsPtrace = new Set(['pidfd_getfd', 'process_vm_readv', 'process_vm_writev']);

function kernelRefusal({ ptraceScope, modules }: Confinement): string {
  if (ptraceScope === 3)
    return 'Yama lets nobody look into another process (kernel.yama.ptrace_scope is 3, which stays until the next boot); boot with 0 or 1';
  if (ptraceScope === 2)
    return 'Yama lets only CAP_SYS_PTRACE look into another process (kernel.yama.ptrace_scope is 2); set it to 1 (sysctl kernel.yama.ptrace_scope=1), or run iopf with that capability';
  const others =
    modules.length === 0 ? '' : `, or a security module does (${modules.join(', ')}: see its log)`;
  return `the kernel takes iopf for a stranger to the program (other user or user namespace, more capabilities, or not dumpable)${others}; run iopf as the program’s user, or with CAP_SYS_PTRACE`;
}

/** Whether an errno means that somebody does not want it. */
export const isRefusal = (code: number): boolean =>
  code === Errno.EPERM || code === Errno.EACCES || code === Errno.ENOSYS;

function confinementHere(): Confinement {
  const scope = textOf('/proc/sys/kernel/yama/ptrace_scope');
  const harmless = new Set(['', 'lockdown', 'capability', 'yama', 'landlock', 'integrity']);
  return {
    filtered: /^Seccomp:\s+2$/m.test(textOf('/proc/self/status')),
    ptraceScope: scope === '' ? null : Number(scope),
    modules: textOf('/sys/kernel/security/lsm')
      .trim()
      .split(',')
      .filter((name) => !harmless.has(name)),
  };
}
