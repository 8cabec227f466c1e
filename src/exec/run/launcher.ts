/**
 * The process that becomes the traced program: it takes off what Node put on, installs the filter
 * and execs.
 *
 * Why a process of its own: the filter binds the thread that installs it, and a filtered thread of
 * the engine's own process could wait for the engine in the middle of malloc. Run as `node
 * launcher.js JSON ARGV…`, with argv[0] as the user typed it. It reports on `reportFd`, a socket: a
 * line `listener PID ADDRESS` once the filter is on, with its listener (SCM_RIGHTS) and where there
 * is a byte that may be written, or `error TEXT`; and `failed ERRNO` where the exec fails.
 * After the filter nothing here may wait for anyone but the supervisor.
 */
import './standard-streams.js';
import { writeSync } from 'node:fs';
import { Errno, errnoName } from '../../abi/errno.js';
import {
  allocateNative,
  errno,
  execvp,
  exitNow,
  fcntl,
  prctl,
  signal,
  syscall,
} from '../../mm/process/libc.js';
import { getLimit, type Limit, RLIMIT_NOFILE, setLimit } from '../../mm/process/limits.js';
import { DescriptorMessage } from './descriptor-message.js';
import { profileRefusal } from './refusal.js';

/** What the launcher is told, as JSON in its first argument. */
export interface LaunchRequest {
  /** Path of the program, found. */
  readonly file: string;
  /** The filter, base64 of struct sock_filter[]. */
  readonly filter: string;
  readonly seccompNumber: number;
  readonly reportFd: number;
  /** Descriptors that the program inherits. */
  readonly inherit: readonly number[];
  /** File status flags of descriptors 0 to 2 as iopf's caller made them, -1 where one is closed. */
  readonly statusFlags: readonly number[];
  /** RLIMIT_NOFILE as the program is to have it. */
  readonly descriptorLimit: Limit;
}

const F_SETFD = 2;
const F_SETFL = 4;
const SIGPIPE = 13;
const SIGXFSZ = 25;
const SIG_DFL = 0;
const PR_SET_PDEATHSIG = 1;
const PR_SET_NO_NEW_PRIVS = 38;
const SIGKILL = 9;
const SECCOMP_SET_MODE_FILTER = 1;
const FLAG_NEW_LISTENER = 8;
const FLAG_WAIT_KILLABLE_RECV = 32;

const request = JSON.parse(process.argv[2]!) as LaunchRequest;
const argv = process.argv.slice(3);

function giveUp(text: string): never {
  writeSync(request.reportFd, `error ${text}\n`);
  return exitNow(127);
}

/** Installs the filter and returns its listener, or minus the errno. */
function installFilter(): number {
  const code = Buffer.from(request.filter, 'base64');
  const memory = allocateNative(16 + code.length);
  memory.bytes.set(code, 16);
  const words = new Uint32Array(memory.bytes.buffer, 0, 4);
  words[0] = code.length / 8;
  words[2] = memory.address + 16;
  words[3] = (memory.address + 16) / 2 ** 32;
  const install = (flags: number): number => {
    const listener = syscall(
      request.seccompNumber,
      SECCOMP_SET_MODE_FILTER,
      flags,
      memory.address,
      0,
      0,
      0,
    );
    return listener < 0 ? -errno() : listener;
  };
  let flags = FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV;
  let listener = install(flags);
  if (listener === -Errno.EINVAL) {
    // Before Linux 5.19.
    flags = FLAG_NEW_LISTENER;
    listener = install(flags);
  }
  if (listener === -Errno.EACCES) {
    // Without CAP_SYS_ADMIN a filter is allowed only to a process that can gain no privilege.
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    listener = install(flags);
  }
  return listener;
}

prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
signal(SIGPIPE, SIG_DFL);
signal(SIGXFSZ, SIG_DFL);
for (const fd of request.inherit) fcntl(fd, F_SETFD, 0);
request.statusFlags.forEach((flags, fd) => {
  if (flags >= 0) fcntl(fd, F_SETFL, flags);
});
fcntl(request.reportFd, F_SETFD, 1);
const message = new DescriptorMessage(256);
// Bind and warm everything before the filter: a lazy load afterwards would trap with nobody
// listening yet.
message.prepare('', true);
message.sendPrepared(request.reportFd, request.reportFd);
setLimit(RLIMIT_NOFILE, getLimit(RLIMIT_NOFILE));
message.prepare(`listener ${process.pid} ${message.address}\n`, true);

const listener = installFilter();
if (listener < 0) giveUp(refusal(-listener));
message.sendPrepared(request.reportFd, listener);
// Not before: the limit may be so low that there was no number left for the listener.
setLimit(RLIMIT_NOFILE, request.descriptorLimit);
execvp(request.file, [...argv, null]);
message.send(request.reportFd, `failed ${errnoName(errno())}\n`);
exitNow(127);

function refusal(error: number): string {
  if (error === Errno.EBUSY)
    return 'this process already runs under a seccomp filter with a listener: iopf inside iopf, or another supervisor of system calls; run iopf outside of it';
  const probe = (): number => syscall(request.seccompNumber, -1, 0, 0, 0, 0, 0);
  const refusedByProfile = profileRefusal('seccomp', error, probe);
  if (refusedByProfile !== null) return `cannot filter the program: ${refusedByProfile}`;
  if (error === Errno.EINVAL || error === Errno.ENOSYS)
    return `the kernel offers no seccomp user notification (${errnoName(error)}); Linux 5.14 or later with CONFIG_SECCOMP_FILTER is needed`;
  return `cannot filter the program: seccomp: ${errnoName(error)}`;
}
