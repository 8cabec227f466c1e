/**
 * Starts the program under its filter: what is done between clone(2) and execve(2).
 *
 * The child shares this process's memory until it execs (CLONE_VM), and makes a list of system
 * calls in machine code: no libc, no lock, no allocation. Once its filter is on, its execve is the
 * engine's to answer, which may be this thread: nobody here waits for the child.
 */

import { Errno, errnoName } from '../../abi/errno.js';
import { F_SETFD, SIGKILL } from '../../abi/linux.js';
import { UserError } from '../../input/user-error.js';
import { close, environment, errno, syscall } from '../../mm/process/libc.js';
import { type Limit, limitBytes, RLIMIT_NOFILE } from '../../mm/process/limits.js';
import type { Architecture } from '../arch/index.js';
import { CallList } from '../process/call-list.js';
import { startChild } from '../process/child.js';
import { DescriptorMessage, makeSocketPair } from './descriptor-message.js';
import { cannotRun } from './host-machine.js';
import { profileRefusal } from './refusal.js';

export interface LaunchRequest {
  /** Path of the program, found. */
  readonly file: string;
  /** With argv[0] as the user typed it. */
  readonly argv: readonly string[];
  /** struct sock_filter[] */
  readonly filter: Uint8Array;
  /** Descriptors that the program inherits. */
  readonly inherit: readonly number[];
  /** RLIMIT_NOFILE as the program is to have it. */
  readonly descriptorLimit: Limit;
}

/** The child that becomes the program. Addresses are of this process's memory. */
export interface Launched {
  readonly pid: number;
  /** A socket that its listener comes over (SCM_RIGHTS). */
  readonly reportFd: number;
  /** Its listener or minus the errno, 32 bits. */
  readonly filterResultAt: number;
  /** Minus the errno of its execve, 32 bits; 0: it has not failed. ENOEXEC: the shell is next. */
  readonly execResultAt: number;
  readonly shellResultAt: number;
}

const PR_SET_PDEATHSIG = 1;
const PR_SET_NO_NEW_PRIVS = 38;
const SECCOMP_SET_MODE_FILTER = 1;
const FLAG_NEW_LISTENER = 8;
const FLAG_WAIT_KILLABLE_RECV = 32;
/** An address where nothing is mapped. */
const NOWHERE = 1;
/** What a shell's child exits with that cannot exec. */
const NOT_RUN = 127;
/** Calls of the list beside one for each descriptor, and bytes beside the texts. */
const OTHER_CALLS = 10;
const OTHER_BYTES = 256;

/** Begins the program. Throws UserError where the host lets nobody filter it, or has no room. */
export function launch(arch: Architecture, request: LaunchRequest): Launched {
  const { file, argv, filter, inherit, descriptorLimit } = request;
  const { nr } = arch;
  const rights = filterRights(arch);
  const textBytes = [file, file, ...argv].reduce((sum, text) => sum + 3 * text.length + 24, 0);
  const list = new CallList(OTHER_CALLS + inherit.length, OTHER_BYTES + filter.length + textBytes);
  const [reportFd, childsEnd] = makeSocketPair();
  const message = new DescriptorMessage().prepare();

  list.call(nr.prctl, PR_SET_PDEATHSIG, SIGKILL);
  for (const fd of inherit) list.call(nr.fcntl, fd, F_SETFD, 0);
  if (rights.needsNoNewPrivileges) list.call(nr.prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  const program = list.words(filter.length / 8, list.data(filter));
  const install = list
    .call(nr.seccomp, SECCOMP_SET_MODE_FILTER, rights.flags, program)
    .storeAt(message.descriptorAt);
  list.call(nr.sendmsg, childsEnd, message.address, 0);
  // Not before: the limit may be so low that there was no number left for the listener.
  list.call(nr.prlimit64, 0, RLIMIT_NOFILE, list.data(limitBytes(descriptorLimit)), 0);
  const [path, ...texts] = [file, ...argv].map((text) => list.text(text)) as [number, ...number[]];
  const exec = list.call(nr.execve, path, list.words(...texts, 0), environment());
  // As execvp(3) does with a file that is no program of the kernel's.
  const shell = list.text('/bin/sh');
  const script = list.words(shell, path, ...texts.slice(1), 0);
  const execShell = list.call(nr.execve, shell, script, environment());
  const exit = list.call(nr.exit_group, NOT_RUN);
  install.onError(exit);
  exec.onError(exit);
  exec.onErrno(Errno.ENOEXEC, execShell);

  const pid = startChild(arch, list);
  close(childsEnd);
  if (pid < 0) {
    close(reportFd);
    throw cannotRun(argv[0]!, errnoName(-pid), '');
  }
  return {
    pid,
    reportFd,
    filterResultAt: message.descriptorAt,
    execResultAt: exec.resultAt,
    shellResultAt: execShell.resultAt,
  };
}

/** What it takes to install a filter here. Throws UserError where nobody may. */
function filterRights({ nr }: Architecture): { flags: number; needsNoNewPrivileges: boolean } {
  // Unknown flags are refused before the filter is looked at, and rights are checked before its
  // instructions, which are nowhere: what is left to find fault with is their address.
  const none = new CallList(0, 64).words(1, NOWHERE);
  const probe = (flags: number): number =>
    syscall(nr.seccomp, SECCOMP_SET_MODE_FILTER, flags, none, 0, 0, 0) < 0 ? errno() : 0;
  let flags = FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV;
  let error = probe(flags);
  if (error === Errno.EINVAL) {
    // Before Linux 5.19.
    flags = FLAG_NEW_LISTENER;
    error = probe(flags);
  }
  if (error === Errno.EFAULT) return { flags, needsNoNewPrivileges: false };
  // Without CAP_SYS_ADMIN a filter is allowed only to a process that can gain no privilege.
  if (error === Errno.EACCES) return { flags, needsNoNewPrivileges: true };
  throw new UserError(filterRefusal(nr.seccomp, error));
}

/** Why no filter can be installed, for the user. */
export function filterRefusal(seccompNumber: number, error: number): string {
  if (error === Errno.EBUSY)
    return 'this process already runs under a seccomp filter with a listener: iopf inside iopf, or another supervisor of system calls; run iopf outside of it';
  const probe = (): number => syscall(seccompNumber, -1, 0, 0, 0, 0, 0);
  const refusedByProfile = profileRefusal('seccomp', error, probe);
  if (refusedByProfile !== null) return `cannot filter the program: ${refusedByProfile}`;
  if (error === Errno.EINVAL || error === Errno.ENOSYS)
    return `the kernel offers no seccomp user notification (${errnoName(error)}); Linux 5.14 or later with CONFIG_SECCOMP_FILTER is needed`;
  return `cannot filter the program: seccomp: ${errnoName(error)}`;
}
