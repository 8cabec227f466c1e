/** What /proc says of a process in text. */
import { readFileSync, readlinkSync } from 'node:fs';
import { PAGE_SIZE } from '../address-space.js';

/** linux/capability.h */
export const Capability = { IPC_LOCK: 14, SYS_RESOURCE: 24 } as const;
/** The inode of the initial user namespace (kernel: PROC_USER_INIT_INO). */
const INITIAL_USER_NAMESPACE = 'user:[4026531837]';

/** A part of an area that has a flag. */
export interface FlaggedPages {
  readonly first: number;
  readonly end: number;
  readonly flags: string;
}

/** A file of /proc; empty where the process is gone, or lets nobody look (it is not dumpable). */
export function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** What areas are of the pages [first, end), with VmFlags of smaps that `flags` matches. */
export function flaggedPages(
  task: number,
  first: number,
  end: number,
  flags: RegExp,
): FlaggedPages[] {
  const found: FlaggedPages[] = [];
  let from = 0;
  let to = 0;
  for (const line of textOf(`/proc/${task}/smaps`).split('\n')) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line);
    if (range !== null) {
      from = Math.max(first, Number.parseInt(range[1]!, 16) / PAGE_SIZE);
      to = Math.min(end, Number.parseInt(range[2]!, 16) / PAGE_SIZE);
    } else if (from < to && line.startsWith('VmFlags:') && flags.test(line))
      found.push({ first: from, end: to, flags: line });
  }
  return found;
}

/** A process's soft limit of locked memory, in bytes; for who may not ask for it by prlimit(2). */
export function lockLimitBytes(task: number): number {
  const soft = /^Max locked memory\s+(\S+)/m.exec(textOf(`/proc/${task}/limits`))?.[1];
  if (soft === 'unlimited') return Number.POSITIVE_INFINITY;
  return soft === undefined ? 0 : Number(soft);
}

/** capable(), which a user namespace other than the first does not give. */
export function hasCapability(task: number, capability: number): boolean {
  const match = /^CapEff:\s+([0-9a-f]+)/m.exec(textOf(`/proc/${task}/status`));
  if (match === null || ((Number.parseInt(match[1]!.slice(-8), 16) >>> capability) & 1) === 0)
    return false;
  try {
    return readlinkSync(`/proc/${task}/ns/user`) === INITIAL_USER_NAMESPACE;
  } catch {
    return false;
  }
}
