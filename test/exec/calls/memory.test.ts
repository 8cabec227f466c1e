/** Which memory each call takes away from devices, before the kernel does it. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  CLONE_VM,
  MREMAP_DONTUNMAP,
  MREMAP_FIXED,
  MREMAP_MAYMOVE,
} from '../../../src/abi/linux.js';
import { architecture, type SystemCall } from '../../../src/exec/arch/index.js';
import { Uffdio } from '../../../src/exec/seccomp/filter.js';
import { close, open, syscall } from '../../../src/mm/process/libc.js';
import { OwnProgram } from './own-program.js';

const [FROM, TO, PAGE] = [0x70000, 0x90000, 0x1000];

let program: OwnProgram;
/** What was taken away: bytes, or how. */
let taken: unknown[];
beforeAll(() => {
  program = new OwnProgram('edu@0000:02:00.0');
});
beforeEach(() => {
  program.reset();
  taken = [];
});
afterAll(() => program.end());

/** This process speaks to VFIO: from now on its memory counts. */
function speaks(): void {
  const { space } = program.processes.enter(process.pid)!;
  space.invalidate = (start, length) => void taken.push([start, length]);
  space.invalidateAll = () => void taken.push('all');
  space.invalidateForBrk = (end) => void taken.push(['above', end]);
  space.invalidateForFork = () => void taken.push('writes');
  space.invalidateFile = (ino, offset, length) => void taken.push([ino, offset, length]);
}

const whole = [[FROM, PAGE]];

describe.each<[string, SystemCall, readonly number[], unknown[]]>([
  ['munmap', 'munmap', [FROM, PAGE], whole],
  ['mprotect', 'mprotect', [FROM, PAGE, 1], whole],
  ['pkey_mprotect', 'pkey_mprotect', [FROM, PAGE, 1, 1], whole],
  ['remap_file_pages', 'remap_file_pages', [FROM, PAGE, 0, 3, 0], whole],
  ['brk', 'brk', [FROM], [['above', FROM]]],
  ['shmdt', 'shmdt', [FROM], ['all']],
  ['shmat', 'shmat', [1, FROM, 0], ['all']],
  ['a mapping at a fixed place', 'mmap', [FROM, PAGE, 3, 0x32, -1, 0], whole],
  ['a mapping anywhere', 'mmap', [FROM, PAGE, 3, 0x22, -1, 0], []],
  ['mremap that shrinks', 'mremap', [FROM, 3 * PAGE, PAGE, 0], [[FROM + PAGE, 2 * PAGE]]],
  ['mremap that grows in its place', 'mremap', [FROM, PAGE, 2 * PAGE, 0], []],
  ['mremap of the same size', 'mremap', [FROM, PAGE, PAGE, MREMAP_MAYMOVE], []],
  ['mremap that may move', 'mremap', [FROM, PAGE, 2 * PAGE, MREMAP_MAYMOVE], whole],
  [
    'mremap that leaves its place mapped',
    'mremap',
    [FROM, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP],
    whole,
  ],
  [
    'mremap to a place',
    'mremap',
    [FROM, PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, TO],
    [...whole, [TO, 2 * PAGE]],
  ],
  ['fork', 'clone', [17], ['writes']],
  ['a new thread', 'clone', [CLONE_VM | 17], []],
])('%s', (_, name, given, expected) => {
  test.runIf(architecture(process.arch)!.nr[name] !== undefined)(
    'takes from whom VFIO knows, and from no other',
    () => {
      expect(program.make(name, ...given)).toBe('goes on');
      expect(taken).toEqual([]);
      speaks();
      expect(program.make(name, ...given)).toBe('goes on');
      expect(taken).toEqual(expected);
    },
  );
});

test('madvise takes pages away by some advice, and by no other', () => {
  speaks();
  const taking = [];
  for (let advice = 0; advice < 120; advice++) {
    taken = [];
    expect(program.make('madvise', FROM, PAGE, advice)).toBe('goes on');
    if (taken.length > 0) {
      expect(taken).toEqual(whole);
      taking.push(advice);
    }
  }
  expect(taking).toEqual([4, 8, 9, 21, 24, 25, 100, 101, 102]);
});

describe('process_madvise takes the ranges of its vectors away', () => {
  const PAGEOUT = 21;
  const advise = (fd: number, advice: number): void => {
    const at = program.room(32);
    [FROM, PAGE, TO, 2 * PAGE].forEach((value, index) => {
      program.view.setBigUint64(at + 8 * index, BigInt(value), true);
    });
    const vectors = program.memory.address + at;
    expect(program.make('process_madvise', fd, vectors, 2, advice, 0)).toBe('goes on');
  };
  const both = [
    [FROM, PAGE],
    [TO, 2 * PAGE],
  ];

  test.each([
    ['of the caller by PIDFD_SELF', PAGEOUT, true],
    ['of the process of a pidfd', PAGEOUT, false],
  ])('%s', (_, advice, isSelf) => {
    const pidfd = syscall(program.arch.nr.pidfd_open, process.pid, 0, 0, 0, 0, 0);
    const fd = isSelf ? -10000 : pidfd;
    advise(fd, advice);
    expect(taken).toEqual([]);
    speaks();
    advise(fd, 14);
    expect(taken).toEqual([]);
    advise(fd, advice);
    expect(taken).toEqual(both);
    close(pidfd);
  });

  test('and of nobody where the descriptor is no process', () => {
    speaks();
    advise(0, PAGEOUT);
    expect(program.make('process_madvise', -10000, 16, 2, PAGEOUT, 0)).toBe('goes on');
    expect(taken).toEqual([]);
  });
});

test('a file that is cut or gets a hole loses its pages wherever they are mapped', () => {
  const folder = mkdtempSync(join(tmpdir(), 'test-calls-'));
  const path = join(folder, 'file');
  writeFileSync(path, 'text');
  const { ino } = statSync(path);
  const fd = open(path, 2, 0);
  try {
    program.make('ftruncate', fd, PAGE);
    expect(taken).toEqual([]);
    speaks();
    expect(program.make('ftruncate', fd, PAGE)).toBe('goes on');
    expect(program.make('fallocate', fd, 3, PAGE, 2 * PAGE)).toBe('goes on');
    expect(program.make('ftruncate', 850, PAGE)).toBe('goes on');
    expect(taken).toEqual([
      [ino, PAGE, Number.POSITIVE_INFINITY],
      [ino, PAGE, 2 * PAGE],
    ]);
  } finally {
    close(fd);
    rmSync(folder, { recursive: true });
  }
});

describe('userfaultfd', () => {
  test('may be what brings pages from now on', () => {
    expect(program.make('userfaultfd', 0)).toBe('goes on');
    expect(program.waits).toBe(1);
  });

  test.each([
    [
      'moves pages from one place to another',
      Uffdio.MOVE,
      [
        [TO, 2 * PAGE],
        [FROM, 2 * PAGE],
      ],
    ],
    ['protects a range', Uffdio.WRITEPROTECT, [[TO, FROM]]],
    ['copies, which takes nothing away', 0xc028aa03, []],
  ])('%s', (_, code, expected) => {
    const at = program.room(24);
    [TO, FROM, 2 * PAGE].forEach((value, index) => {
      program.view.setBigUint64(at + 8 * index, BigInt(value), true);
    });
    const address = program.memory.address + at;
    expect(program.make('ioctl', 0, code, address)).toBe('goes on');
    expect(taken).toEqual([]);
    speaks();
    expect(program.make('ioctl', 0, code, 16)).toBe('goes on');
    expect(taken).toEqual([]);
    expect(program.make('ioctl', 0, code, address)).toBe('goes on');
    expect(taken).toEqual(expected);
  });
});

test('clone3 has its flags in memory; what cannot be read may be a fork', () => {
  speaks();
  const at = program.room(88);
  const clone = (flags: number): void => {
    program.view.setUint32(at, flags, true);
    expect(program.make('clone3', program.memory.address + at, 88)).toBe('goes on');
  };
  clone(CLONE_VM);
  expect(taken).toEqual([]);
  clone(0);
  expect(taken).toEqual(['writes']);
  expect(program.make('clone3', 16, 88)).toBe('goes on');
  expect(taken).toEqual(['writes', 'writes']);
});

describe('a process that leaves', () => {
  test.each<[SystemCall]>([['execve'], ['execveat'], ['exit_group']])(
    'by %s has memory that may be another’s at any moment',
    (name) => {
      speaks();
      const made = program.processes.withPid(process.pid)!;
      expect(program.make(name, 0, 0, 0, 0, 0)).toBe('goes on');
      expect([made.leaving, made.space.suspect]).toEqual([process.pid, true]);
    },
  );

  test('by a thread’s exit is reached through another thread', () => {
    speaks();
    const made = program.processes.withPid(process.pid)!;
    expect(program.make('exit', 0)).toBe('goes on');
    expect(made.ending).toEqual(new Set([process.pid]));
    expect(made.task).not.toBe(process.pid);
  });
});
