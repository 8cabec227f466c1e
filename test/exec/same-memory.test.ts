/** Whether two tasks have the same memory, by kcmp and where a sandbox denies that. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { architecture } from '../../src/exec/arch/index.js';
import { sharesDumpFilter, sharesMemory } from '../../src/exec/process/same-memory.js';

const { pid, ppid } = process;
const thread = Number(readdirSync('/proc/self/task').find((tid) => Number(tid) !== pid));
const filters = (): string[] =>
  [pid, ppid].map((task) => readFileSync(`/proc/${task}/coredump_filter`, 'latin1'));
const before = filters();
/** None has this number: they end at 2^22. */
const GONE = 2 ** 22 + 1;

describe.each([
  ['kcmp', (tid: number, other: number) => sharesMemory(architecture(process.arch)!, tid, other)],
  ['the filter of core dumps', sharesDumpFilter],
])('by %s', (_, shares) => {
  test('threads of a process have the same memory, another process and none have not', () => {
    expect(shares(thread, pid)).toBe(true);
    expect(shares(pid, thread)).toBe(true);
    expect(shares(pid, ppid)).toBe(false);
    expect(shares(ppid, pid)).toBe(false);
    expect(shares(pid, GONE)).toBe(false);
    expect(shares(GONE, pid)).toBe(false);
    expect(filters()).toEqual(before);
  });
});
