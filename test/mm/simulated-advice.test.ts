import { expect, test } from 'vitest';
import { Errno } from '../../src/abi/errno.js';
import { READ, WRITE } from '../../src/mm/address-space.js';
import { SimulatedSpace } from '../../src/mm/simulated.js';
import { SimulatedFile } from '../../src/mm/simulated-file.js';
import { SimulatedMemory } from '../../src/mm/simulated-memory.js';

const RW = READ | WRITE;
const V = 0x7f000;

const newSpace = () => new SimulatedSpace(new SimulatedMemory());

/** The first byte of pages, -1 where one cannot be read. */
function bytesOf(mm: SimulatedSpace, first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => {
    const into = new Uint8Array(1);
    return mm.copyFrom((first + i) * 4096, into) ? into[0]! : -1;
  });
}

function fill(mm: SimulatedSpace, first: number, count: number): void {
  for (let i = 0; i < count; i++) mm.fillPages(first + i, 1, i + 1);
}

test('MADV_REMOVE makes a hole in the file, told to every mapping, and private copies stay', () => {
  const mm = newSpace();
  const file = new SimulatedFile(mm.memory, 6);
  mm.mmap(V, 4, { kind: 'memfd', protection: RW, file, offset: 1 });
  mm.mmap(V + 16, 6, { kind: 'memfd', protection: READ, file });
  mm.mmap(V + 32, 6, { kind: 'memfdPrivate', protection: RW, file });
  fill(mm, V, 4);
  mm.fillPages(V + 34, 1, 9);
  const told: number[][] = [];
  mm.subscribe({ invalidate: (first, count) => void told.push([first - V, count]), release() {} });
  expect(mm.advice.punch(V + 1, 2)).toBe(0);
  expect(told).toEqual([
    [1, 2],
    [18, 2],
  ]);
  expect(bytesOf(mm, V, 4)).toEqual([1, 0, 0, 4]);
  expect(bytesOf(mm, V + 16, 6)).toEqual([0, 1, 0, 0, 4, 0]);
  expect(bytesOf(mm, V + 34, 1)).toEqual([9]);
});

test('MADV_REMOVE is EINVAL without a file or locked, EACCES private or read-only, ENOMEM in a gap', () => {
  const mm = newSpace();
  const file = new SimulatedFile(mm.memory, 6);
  mm.mmap(V, 2, { kind: 'memfd', protection: RW, file });
  mm.mmap(V + 4, 2, { kind: 'memfdPrivate', protection: RW, file });
  mm.mmap(V + 8, 2, { kind: 'memfd', protection: READ, file });
  mm.mmap(V + 12, 2, { kind: 'anon', protection: RW });
  fill(mm, V, 2);
  expect([0, 4, 8, 12, 1].map((at) => mm.advice.punch(V + at, 2))).toEqual([
    ...[0, Errno.EACCES, Errno.EACCES, Errno.EINVAL, Errno.ENOMEM],
  ]);
  fill(mm, V, 2);
  mm.mlock(V, 1);
  expect(mm.advice.punch(V, 2)).toBe(Errno.EINVAL);
  expect(bytesOf(mm, V, 2)).toEqual([1, 2]);
});

test('MADV_FREE loses what is in swap of its range; EINVAL for files and locked memory', () => {
  const mm = newSpace();
  mm.mmap(V, 4, { kind: 'anon', protection: RW });
  mm.mmap(V + 4, 1, { kind: 'memfd', protection: RW });
  fill(mm, V, 4);
  mm.pageOut(V, 4);
  expect(mm.advice.free(V + 1, 2)).toBe(0);
  expect([0, 1, 2, 3].map((at) => mm.isSwapped(V + at))).toEqual([true, false, false, true]);
  expect(bytesOf(mm, V, 4)).toEqual([1, 0, 0, 4]);
  expect([3, 4].map((at) => mm.advice.free(V + at, 2))).toEqual([Errno.EINVAL, Errno.ENOMEM]);
  mm.mlock(V, 1);
  expect(mm.advice.free(V, 2)).toBe(Errno.EINVAL);
});

test('a child has neither what was MADV_DONTFORK nor the bytes of what was MADV_WIPEONFORK', () => {
  const mm = newSpace();
  mm.mmap(V, 4, { kind: 'anon', protection: RW });
  mm.mmap(V + 4, 1, { kind: 'memfd', protection: RW });
  fill(mm, V, 5);
  expect(mm.advice.setOnFork(V + 1, 1, 'leave')).toBe(0);
  expect(mm.advice.setOnFork(V + 2, 1, 'wipe')).toBe(0);
  expect(mm.advice.setOnFork(V + 3, 2, 'wipe')).toBe(Errno.EINVAL);
  expect(mm.advice.setOnFork(V + 4, 2, 'leave')).toBe(Errno.ENOMEM);
  expect(bytesOf(mm.fork(1), V, 5)).toEqual([1, -1, 0, 4, 5]);
  expect(mm.advice.setOnFork(V + 1, 2, 'copy')).toBe(0);
  expect(bytesOf(mm.fork(2), V, 5)).toEqual([1, 2, 3, 4, 5]);
});

test('a look at a page finds its bytes in its frame or in swap, and brings nothing in', () => {
  const mm = newSpace();
  mm.mmap(V, 5, { kind: 'anon', protection: RW });
  fill(mm, V, 3);
  mm.copyTo((V + 2) * 4096, Uint8Array.of(7));
  bytesOf(mm, V + 4, 1);
  mm.pageOut(V + 1, 2);
  const peeked = [0, 1, 2, 3, 4].map((at) => {
    const into = Uint8Array.of(0xee, 0xee);
    mm.peek(V + at, 0, into);
    return [...into];
  });
  expect(peeked).toEqual([
    [1, 1],
    [2, 2],
    [7, 3],
    [0xee, 0xee],
    [0, 0],
  ]);
  expect([0, 1, 2, 3].map((at) => mm.isSwapped(V + at))).toEqual([false, true, true, false]);
  expect(mm.presentPages).toBe(2);
});
