/**
 * Tasks (threads) of processes: a process is reached through one that is alive, because one that
 * has ended has neither memory nor descriptors, and the main thread may end first.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { close, syscall } from '../../mm/process/libc.js';
import type { Architecture } from '../arch/index.js';

/** PIDFD_THREAD (linux/pidfd.h): of a thread that need not be the first; since Linux 6.9. */
const PIDFD_THREAD = 0o200;

/** A task has not ended. */
export function isAlive(tid: number): boolean {
  const state = statFields(tid)[0];
  return state !== undefined && state !== 'Z' && state !== 'X';
}

/** A task of a process that is alive and not among those that are ending; 0: there is none. */
export function livingTask(pid: number, ending: ReadonlySet<number>): number {
  try {
    for (const name of readdirSync(`/proc/${pid}/task`)) {
      const tid = Number(name);
      if (!ending.has(tid) && isAlive(tid)) return tid;
    }
  } catch {
    // The process is gone.
  }
  return 0;
}

/** A process by its task, of which the first is as good as any while it lives. */
export interface ReachedProcess {
  readonly pid: number;
  readonly pidfd: number;
  readonly task: number;
}

/** A descriptor of the engine's for one of a process's, or -1 and errno. */
export function takeDescriptor(
  { nr }: Architecture,
  { pid, pidfd, task }: ReachedProcess,
  fd: number,
): number {
  if (task === pid) return syscall(nr.pidfd_getfd, pidfd, fd, 0, 0, 0, 0);
  const ofTask = syscall(nr.pidfd_open, task, PIDFD_THREAD, 0, 0, 0, 0);
  const taken = syscall(nr.pidfd_getfd, ofTask, fd, 0, 0, 0, 0);
  if (ofTask >= 0) close(ofTask);
  return taken;
}

/** The process that a process is a child of, or 0. */
export function parentOf(pid: number): number {
  return Number(statFields(pid)[1] ?? 0);
}

/** The thread group (process) of a thread, or 0 where it is gone. */
export function threadGroup(tid: number): number {
  try {
    const match = /^Tgid:\s+(\d+)/m.exec(readFileSync(`/proc/${tid}/status`, 'latin1'));
    return match === null ? 0 : Number(match[1]);
  } catch {
    return 0;
  }
}

/** The fields of /proc/TID/stat from the third on, the state. */
function statFields(tid: number): readonly string[] {
  try {
    const stat = readFileSync(`/proc/${tid}/stat`, 'latin1');
    // They follow the name, which may contain anything.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return [];
  }
}
