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
import { architecture } from '../arch/index.js';
import type { DescriptorWindow } from '../seccomp/filter.js';

const WINDOW_SIZE = 64;
const LEAST_DESCRIPTORS = 128;
/** Programs that close "all" descriptors stop here, and RLIMIT_NOFILE is this by default. */
const WINDOW_TOP = 1024;

/** Throws UserError where programs cannot be run under a filter at all here. */
export function checkHost(): void {
  if (!hasDirectory())
    throw new UserError('the current directory is gone; iopf exec needs one that is there (cd)');
  if (process.platform !== 'linux')
    throw new UserError(`iopf exec needs Linux, not ${process.platform}`);
  if (architecture(process.arch) === null)
    throw new UserError(
      `iopf exec knows the system calls of x86-64 and arm64, not of ${process.arch}`,
    );
  const pageBytes = getpagesize();
  if (pageBytes !== PAGE_SIZE)
    throw new UserError(
      `iopf exec needs a kernel with pages of 4 KiB, and this one has ${pageBytes / 1024} KiB`,
    );
  const [major = 0, minor = 0] = release().split('.').map(Number);
  if (major < 5 || (major === 5 && minor < 14))
    throw new UserError(`iopf exec needs Linux 5.14 or later, not ${release()}`);
  const actions = '/proc/sys/kernel/seccomp/actions_avail';
  if (existsSync(actions) && !readFileSync(actions, 'latin1').includes('user_notif'))
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
  throw new UserError(
    name.includes('/') && existsSync(name)
      ? `${name} is not executable`
      : `program not found: ${name}${name.includes('/') ? '' : ' (looked in PATH)'}`,
  );
}

/**
 * What a program that was found does not start for, an errno's name. The exit code is what a
 * shell's would be.
 */
export function cannotRun(program: string, code: string, about: string): UserError {
  return new UserError(`cannot run ${program}: ${code}${about}`, code === 'ENOENT' ? 127 : 126);
}

/** The descriptors 3 and up that our caller left open for the program: neither Node's nor ours. */
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
 * RLIMIT_NOFILE as it was before Node raised it: that of the process which called us, past npm and
 * its shell. Null where it cannot be told, or nothing was raised.
 */
export function callersDescriptorLimit(): [soft: number, hard: number] | null {
  try {
    let pid = process.ppid;
    for (;;) {
      const name = nameOf(pid);
      const parent = parentOf(pid);
      if (parent <= 1) break;
      const isNpm = /^(node|npm|npx)\b/.test(name);
      // A shell that npm started has npm's limits, unless somebody set others in it.
      const isNpmsShell =
        /^(sh|bash|dash)$/.test(name) &&
        /^(node|npm|npx)\b/.test(nameOf(parent)) &&
        limitText(pid) === limitText(parent);
      if (!isNpm && !isNpmsShell) break;
      pid = parent;
    }
    const [soft = 0, hard = 0] = limitText(pid).split(' ').map(limitNumber);
    // Whoever became us by exec may have lowered its own (`ulimit -n 256; exec iopf …`).
    const most = limitNumber(limitText(process.pid).split(' ')[1]!);
    const limits: [number, number] = [Math.min(soft, most), Math.min(hard, most)];
    return limits.every(Number.isFinite) ? limits : null;
  } catch {
    return null;
  }
}

/** Whether what is typed at our terminal, if we have one, reaches our process group. */
export function isInForeground(): boolean {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  const [, , group, , terminal, foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return terminal !== '0' && group === foreground;
}

const nameOf = (pid: number): string => readFileSync(`/proc/${pid}/comm`, 'latin1').trim();

const limitNumber = (text: string): number =>
  text === 'unlimited' ? Number.POSITIVE_INFINITY : Number(text);

/** Soft and hard RLIMIT_NOFILE of a process. */
function limitText(pid: number): string {
  const match = /^Max open files\s+(\w+)\s+(\w+)/m.exec(
    readFileSync(`/proc/${pid}/limits`, 'latin1'),
  );
  return `${match![1]} ${match![2]}`;
}

/**
 * Where the descriptors that we hand out lie, below a soft limit: SECCOMP_IOCTL_NOTIF_ADDFD cannot
 * go above it. Throws UserError where that leaves the launcher too few of its own.
 */
export function descriptorWindow(softLimit: number): DescriptorWindow {
  if (softLimit < LEAST_DESCRIPTORS)
    throw new UserError(
      `the limit of ${softLimit} open files is too low; iopf exec needs ${LEAST_DESCRIPTORS} (ulimit -n)`,
    );
  const end = Math.min(softLimit, WINDOW_TOP);
  return { first: end - Math.min(WINDOW_SIZE, Math.floor(end / 2)), end };
}

function parentOf(pid: number): number {
  const match = /^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
  return match === null ? 0 : Number(match[1]);
}
