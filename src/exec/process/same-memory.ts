/**
 * Whether two tasks have the same memory. kcmp(2) says so, but container profiles deny it. What
 * remains is an attribute that Linux keeps with the memory and shows for each task: which mappings
 * a core dump includes (`coredump_filter`, core(5)). A bit changed through one task is seen through
 * the other if they share it.
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { syscall } from '../../mm/process/libc.js';
import type { Architecture } from '../arch/index.js';

const KCMP_VM = 1;
/** Shared DAX mappings: the bit whose change, for microseconds, matters least. */
const PROBE = 1 << 8;
const DIGITS_MAX = 16;

/** False also where the kernel does not say: no kcmp, and a `/proc` that may not be written. */
export function sharesMemory({ nr }: Architecture, tid: number, other: number): boolean {
  const compared = syscall(nr.kcmp, tid, other, KCMP_VM, 0, 0, 0);
  return compared < 0 ? sharesDumpFilter(tid, other) : compared === 0;
}

/** The same by the filter of core dumps: eleven calls for kcmp's one, but no right of its own. */
export function sharesDumpFilter(tid: number, other: number): boolean {
  const files: number[] = [];
  try {
    for (const task of [tid, other]) files.push(openSync(`/proc/${task}/coredump_filter`, 'r+'));
    const filter = read(files[0]!);
    if (read(files[1]!) !== filter) return false;
    try {
      write(files[0]!, filter ^ PROBE);
      return read(files[1]!) === (filter ^ PROBE);
    } finally {
      // The memory may outlive the first task.
      if (!write(files[0]!, filter)) write(files[1]!, filter);
    }
  } catch {
    return false; // One is gone, or may not be written.
  } finally {
    files.forEach(closeSync);
  }
}

/** The filter of a task; throws where its memory is gone. */
function read(file: number): number {
  const digits = Buffer.alloc(DIGITS_MAX);
  const length = readSync(file, digits, 0, DIGITS_MAX, 0);
  if (length === 0) throw new Error('no memory');
  return Number.parseInt(digits.toString('latin1', 0, length), 16);
}

/** False: the task has ended. */
function write(file: number, filter: number): boolean {
  try {
    writeSync(file, `0x${filter.toString(16)}`);
    return true;
  } catch {
    return false;
  }
}
