/**
 * What the machine that iopf runs on is like, and what Node changed about this process that the
 * program must not see.
 */
import {
  accessSync,
  constants,
  existsSync,
  fstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
} from 'node:fs';
import { release } from 'node:os';
import { delimiter, join } from 'node:path';
import { UserError } from '../../input/user-error.js';
import { PAGE_SIZE } from '../../mm/address-space.js';
import { getpagesize } from '../../mm/process/libc.js';
import { getLimit, type Limit, RLIMIT_NOFILE } from '../../mm/process/limits.js';
import { architecture } from '../arch/index.js';
import type { DescriptorWindow } from '../seccomp/filter.js';

const WINDOW_SIZE = 64;
/** Open files that iopf itself needs. */
const LEAST_DESCRIPTORS = 96;
/** Where bin/iopf notes the soft RLIMIT_NOFILE that it was started with. */
const SOFT_LIMIT_NOTE = 'IOPF_OPEN_FILES';
/** Programs that close "all" descriptors stop here, and RLIMIT_NOFILE is this by default. */
const WINDOW_TOP = 1024;

/** What `checkHost` asks of a machine. */
export interface Host {
  /** As Node has them: `process.platform`, `process.arch`. */
  readonly platform: string;
  readonly arch: string;
  readonly pageBytes: number;
  /** As uname(2) has it. */
  readonly release: string;
  /** What a seccomp filter can return, in the kernel's words; null: it does not say. */
  readonly seccompActions: string | null;
}

function thisHost(): Host {
  const actions = '/proc/sys/kernel/seccomp/actions_avail';
  return {
    platform: process.platform,
    arch: process.arch,
    pageBytes: getpagesize(),
    release: release(),
    seccompActions: existsSync(actions) ? readFileSync(actions, 'latin1') : null,
  };
}

/** Throws UserError where a machine cannot run programs under a filter at all. */
export function checkHost(host: Host = thisHost()): void {
  const { platform, arch, pageBytes, release, seccompActions } = host;
  if (!hasDirectory())
    throw new UserError('the current directory is gone; iopf exec needs one that is there (cd)');
  if (platform !== 'linux') throw new UserError(`iopf exec needs Linux, not ${platform}`);
  if (architecture(arch) === null)
    throw new UserError(`iopf exec knows the system calls of x86-64 and arm64, not of ${arch}`);
  if (pageBytes !== PAGE_SIZE)
    throw new UserError(
      `iopf exec needs a kernel with pages of 4 KiB, and this one has ${pageBytes / 1024} KiB`,
    );
  const [major = 0, minor = 0] = release.split('.').map(Number);
  if (major < 5 || (major === 5 && minor < 14))
    throw new UserError(`iopf exec needs Linux 5.14 or later, not ${release}`);
  if (seccompActions?.includes('user_notif') === false)
    throw new UserError(
      'the kernel offers no SECCOMP_RET_USER_NOTIF; iopf exec needs Linux 5.14 or later',
    );
}

/** Whether the current directory is there, without which Node begins no thread. */
function hasDirectory(): boolean {
  try {
    process.cwd();
    return true;
  } catch {
    return false;
  }
}

/** Exit codes of env(1), timeout(1) and shells for a program that does not begin. */
const CANNOT_INVOKE = 126;
const NOT_FOUND = 127;

/** Finds a program as execvp would. Throws UserError. */
export function findProgram(name: string): string {
  const isProgram = (path: string): boolean => {
    try {
      accessSync(path, constants.X_OK);
      return statSync(path).isFile();
    } catch {
      return false;
    }
  };
  const places = name.includes('/')
    ? [name]
    : (process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin')
        .split(delimiter)
        .map((folder) => join(folder, name));
  const found = places.find(isProgram);
  if (found !== undefined) return found;
  if (name.includes('/') && existsSync(name))
    throw new UserError(`${name} is not executable`, CANNOT_INVOKE);
  const where = name.includes('/') ? '' : ' (looked in PATH)';
  throw new UserError(`program not found: ${name}${where}`, NOT_FOUND);
}

/**
 * What a program that was found does not start for, an errno's name. The exit code is what a
 * shell's would be.
 */
export function cannotRun(program: string, code: string, about: string): UserError {
  const exitCode = code === 'ENOENT' ? NOT_FOUND : CANNOT_INVOKE;
  return new UserError(`cannot run ${program}: ${code}${about}`, exitCode);
}

/**
 * The descriptors 3 and up that iopf's caller left open for the program: not Node's, not iopf's.
 */
export function inheritedDescriptors(): number[] {
  const links = new Map<number, string>();
  for (const name of readdirSync('/proc/self/fd')) {
    const fd = Number(name);
    try {
      fstatSync(fd);
      links.set(fd, readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      // The descriptor of the listing itself.
    }
  }
  const ends = new Map<string, number>();
  for (const link of links.values()) ends.set(link, (ends.get(link) ?? 0) + 1);
  const isInherited = (fd: number, link: string): boolean => {
    if (fd < 3 || link.startsWith('anon_inode:') || link === '/dev/null') return false;
    // Node's own pipes have both ends here; one that was left for the program has one.
    return !link.startsWith('pipe:') || ends.get(link) === 1;
  };
  return [...links].filter(([fd, link]) => isInherited(fd, link)).map(([fd]) => fd);
}

/**
 * RLIMIT_NOFILE as the caller of iopf set it. Node has raised the soft limit to the hard one by
 * now: what it was `bin/iopf` has noted; where iopf was not started by that, it is what Node made
 * of it.
 */
export function callersDescriptorLimit(): Limit {
  const noted = Number(process.env[SOFT_LIMIT_NOTE]); // 'unlimited' is NaN
  delete process.env[SOFT_LIMIT_NOTE];
  const { soft, hard } = getLimit(RLIMIT_NOFILE);
  return { soft: noted > 0 && noted < soft ? noted : soft, hard };
}

/** Whether what is typed at the terminal, if there is one, reaches this process group. */
export function isInForeground(): boolean {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  const [, , group, , terminal, foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return terminal !== '0' && group === foreground;
}

/**
 * Where descriptors of VFIO files lie, below a soft limit: SECCOMP_IOCTL_NOTIF_ADDFD cannot go
 * above it. Throws UserError where the hard limit leaves iopf too few of its own.
 */
export function descriptorWindow({ soft, hard }: Limit): DescriptorWindow {
  if (hard < LEAST_DESCRIPTORS)
    throw new UserError(
      `the hard limit of ${hard} open files is too low; iopf exec needs ${LEAST_DESCRIPTORS} (ulimit -Hn)`,
    );
  const end = Math.min(soft, WINDOW_TOP);
  return { first: end - Math.min(WINDOW_SIZE, Math.floor(end / 2)), end };
}
