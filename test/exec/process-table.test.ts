/** Numbers of address spaces, over more lives of processes than there are numbers. */
import { type ChildProcess, spawn } from 'node:child_process';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { architecture } from '../../src/exec/arch/index.js';
import type { GuardReport } from '../../src/exec/process/guard-report.js';
import { type Process, ProcessTable } from '../../src/exec/process/process.js';
import { ResidentMemory } from '../../src/exec/reclaim/resident-memory.js';
import type { ProcessMemory } from '../../src/mm/process/memory.js';
import { type ProcessSpace, SPACES_MAX } from '../../src/mm/process/space.js';

let child: ChildProcess;
let pid: number;
beforeAll(() => {
  child = spawn('sleep', ['1000']);
  pid = child.pid!;
});
afterAll(() => {
  child.kill('SIGKILL');
});

const living = new Set<ProcessSpace>();
let table: ProcessTable;
const watched: [number, number][] = [];
beforeEach(() => {
  living.clear();
  watched.length = 0;
  table = new ProcessTable({
    architecture: architecture(process.arch)!,
    memory: {
      add: (space: ProcessSpace) => void living.add(space),
      remove: (space: ProcessSpace) => void living.delete(space),
    } as Partial<ProcessMemory> as ProcessMemory,
    events: { addProcess: (pidfd, of) => void watched.push([pidfd, of]) },
    space: { deviceFiles: new Map(), sharesZeroPage: false, taskSize: 2 ** 47 - 4096 },
    guard: { process: () => {} } as Partial<GuardReport> as GuardReport,
    residentMemory: new ResidentMemory(),
  });
});

/** The child speaks to VFIO, in a life of its own. */
function enter(): Process | null {
  return table.enter(pid);
}

/** It has executed another program: its memory is new. */
function exec(of: Process): void {
  table.leave(of, pid);
  of.space.end();
  table.settle(of, 0);
}

test('are used again after each exit', () => {
  for (let life = 0; life < SPACES_MAX + 1; life++) table.exited(enter()!);
  expect(table.count).toBe(0);
  expect(living.size).toBe(0);
});

test('are used again after each exec', () => {
  const program = enter()!;
  for (let life = 0; life < SPACES_MAX + 1; life++) {
    const before = program.space;
    exec(program);
    expect(program.space).not.toBe(before);
  }
  expect(table.withPid(pid)).toBe(program);
  expect(living).toEqual(new Set([program.space]));
});

test('of memory that had pages pinned wait until no VFIO file is open', () => {
  for (let life = 0; life < SPACES_MAX; life++) {
    const program = enter()!;
    program.space.hasPinned = true;
    table.exited(program);
  }
  expect(enter()).toBeNull();
  table.recycleSpaces();
  expect(enter()).not.toBeNull();
  expect(living.size).toBe(1);
  table.exitedPid(pid);
});

test('a process is watched for its exit from its first call on', () => {
  const { pidfd } = enter()!;
  enter();
  expect(watched).toEqual([[pidfd, pid]]);
  table.exitedPid(pid);
});
