/** What is known of a program's tasks and memory, from /proc: of this process and a child. */
import { spawn } from 'node:child_process';
import { closeSync, fstatSync, openSync, readdirSync, readFileSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { describe, expect, it, test } from 'vitest';
import { architecture } from '../../src/exec/arch/index.js';
import {
  isAlive,
  livingTask,
  parentOf,
  takeDescriptor,
  threadGroup,
} from '../../src/exec/process/tasks.js';
import { ResidentMemory, residentBytes } from '../../src/exec/reclaim/resident-memory.js';
import { syscall } from '../../src/mm/process/libc.js';

const { pid } = process;
/** Above the largest that Linux gives. */
const nobody = 2 ** 22 + 1;

describe('a task', () => {
  it('is alive until it has ended, also while its parent has not looked', async () => {
    const stdio = ['ignore', 'pipe', 'ignore', 'pipe'] as const;
    const shell = spawn('sh', ['-c', 'cat <&3 & echo $!; exec sleep 60'], { stdio: [...stdio] });
    try {
      const line = await new Promise<Buffer>((read) => shell.stdout!.once('data', read));
      const ended = Number(line);
      // That looks for no child, where a shell might.
      const parent = `/proc/${shell.pid}/comm`;
      await expect.poll(() => readFileSync(parent, 'utf8')).toBe('sleep\n');
      expect(isAlive(ended)).toBe(true);
      (shell.stdio[3] as Writable).end();
      await expect.poll(() => isAlive(ended)).toBe(false);
      expect(threadGroup(ended)).toBe(ended);
      expect(livingTask(ended, new Set())).toBe(0);
      expect([parentOf(ended), parentOf(shell.pid!)]).toEqual([shell.pid, pid]);
      expect(isAlive(shell.pid!)).toBe(true);
    } finally {
      shell.kill('SIGKILL');
    }
  });

  it('of a process that is gone is none', () => {
    expect([isAlive(nobody), threadGroup(nobody), parentOf(nobody)]).toEqual([false, 0, 0]);
    expect(livingTask(nobody, new Set())).toBe(0);
  });

  it('is the first of its process, or one that does not end', () => {
    const tasks = readdirSync('/proc/self/task').map(Number);
    expect(tasks.map(threadGroup)).toEqual(tasks.map(() => pid));
    expect(livingTask(pid, new Set())).toBe(tasks[0]);
    expect(livingTask(pid, new Set([tasks[0]!]))).toBe(tasks[1]);
    // No new thread may be missing.
    expect(livingTask(pid, { has: () => true } as unknown as Set<number>)).toBe(0);
  });
});

const arch = architecture(process.arch);
test.skipIf(arch === null)('a descriptor is taken from a process by its number', () => {
  const fd = openSync('/proc/self/exe', 'r');
  const pidfd = syscall(arch!.nr.pidfd_open, pid, 0, 0, 0, 0, 0);
  const taken = takeDescriptor(arch!, { pid, pidfd, task: pid }, fd);
  expect(taken).not.toBe(fd);
  expect(fstatSync(taken).ino).toBe(fstatSync(fd).ino);
  for (const each of [fd, pidfd, taken]) closeSync(each);
});

describe('resident memory', () => {
  const own = { task: pid };
  const about = (bytes: number | null, times: number): void => {
    const now = process.memoryUsage.rss();
    expect(bytes! / now).toBeGreaterThan(times * 0.7);
    expect(bytes! / now).toBeLessThan(times * 1.4);
  };

  it('is that of all processes together: at first, at the highest, and at the end', () => {
    const memory = new ResidentMemory();
    expect(Object.values(memory.summary)).toEqual([null, null, null, null, null]);
    memory.sample([own]);
    memory.sample([own, { task: nobody }, own]);
    memory.sample([own]);
    const { rssBytesBefore, rssBytesPeak, rssBytesEnd, swapBytesPeak } = memory.summary;
    about(rssBytesBefore, 1);
    about(rssBytesPeak, 2);
    about(rssBytesEnd, 1);
    expect(swapBytesPeak).toBeGreaterThanOrEqual(0);
  });

  it('stays what it was where all processes are gone', () => {
    const memory = new ResidentMemory();
    memory.sample([{ task: nobody }]);
    expect(memory.summary.rssBytesBefore).toBeNull();
    memory.sample([own]);
    const { summary } = memory;
    memory.sample([{ task: nobody }]);
    expect(memory.summary).toBe(summary);
  });

  it('of one process is in pages of statm, and 0 where it is gone', () => {
    about(residentBytes(pid), 1);
    expect(residentBytes(nobody)).toBe(0);
  });
});
