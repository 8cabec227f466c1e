import { beforeEach, describe, expect, test } from 'vitest';
import { Errno } from '../../src/abi/errno.js';
import { PinnedRuns } from '../../src/ioas/pinned-runs.js';
import { UserPages } from '../../src/ioas/user-pages.js';
import { READ, WRITE } from '../../src/mm/address-space.js';
import { ProcessAccount } from '../../src/mm/lock-account.js';
import { SimulatedSpace } from '../../src/mm/simulated.js';
import { SimulatedMemory, ZERO_FRAME } from '../../src/mm/simulated-memory.js';
import { errnoOf } from '../errno-of.js';

const RW = READ | WRITE;
const VADDR = 0x7f0000;
const PAGES = 1200;

let memory: SimulatedMemory;
let mm: SimulatedSpace;
let pages: UserPages;

beforeEach(() => {
  memory = new SimulatedMemory();
  mm = new SimulatedSpace(memory, { ipcLock: false, lockLimitPages: PAGES });
  mm.mmap(VADDR, PAGES, { kind: 'anon', protection: RW });
  pages = new UserPages(mm, VADDR, PAGES, RW, new ProcessAccount(mm, false));
});

const state = () => [memory.pinned, mm.lockedPages, pages.lockedPages];
const pinnedPages = () => {
  const found: number[] = [];
  for (const { first, count } of pages.pinnedRuns(0, PAGES))
    for (let i = 0; i < count; i++) found.push(first + i);
  return found;
};

describe('memory that several mappings lead to', () => {
  test('is pinned and charged once, for as long as one of them holds it', () => {
    expect(pages.pin(4, 8)).toBe(8);
    expect(pages.pin(0, 6)).toBe(4);
    expect(pages.pin(2, 14)).toBe(4);
    expect(state()).toEqual([16, 16, 16]);
    expect(pages.unpin(4, 8)).toBe(0);
    expect(pages.unpin(2, 14)).toBe(10);
    expect(pinnedPages()).toEqual([0, 1, 2, 3, 4, 5]);
    expect(pages.pin(8, 2)).toBe(2);
    expect(pages.pin(0, 12)).toBe(4);
    expect(pages.unpin(8, 2)).toBe(0);
    expect(pages.unpin(0, 12)).toBe(6);
    expect(pages.unpin(0, 6)).toBe(6);
    expect(state()).toEqual([0, 0, 0]);
  });

  test('keeps the frames that were pinned, in order, whatever the process does', () => {
    pages.pin(0, PAGES);
    const frames = [...pages.pinnedRuns(0, PAGES)].flatMap(({ frame, count }) =>
      Array.from({ length: count }, (_, i) => frame + i),
    );
    expect(frames).toEqual(Array.from({ length: PAGES }, (_, page) => mm.frameAt(VADDR + page)));
    mm.munmap(VADDR, PAGES);
    expect(pinnedPages()).toHaveLength(PAGES);
    pages.unpin(0, PAGES);
    expect(state()).toEqual([0, 0, 0]);
  });

  test('is left as it was where a page cannot be had, or the account has no room', () => {
    pages.pin(600, 4);
    mm.munmap(VADDR + 1100, 1);
    expect(errnoOf(() => pages.pin(0, PAGES))).toBe(Errno.EFAULT);
    expect(pinnedPages()).toEqual([600, 601, 602, 603]);
    mm.lockLimitPages = 600;
    expect(errnoOf(() => pages.pin(0, 1000))).toBe(Errno.ENOMEM);
    expect(state()).toEqual([4, 4, 4]);
  });

  test('is pinned for reading also where it can only be written, by whoever pins fast', () => {
    mm.mprotect(VADDR + 5, 2, WRITE);
    const readers = (isFast: boolean) =>
      new UserPages(mm, VADDR, PAGES, READ, new ProcessAccount(mm, false), isFast);
    expect(errnoOf(() => readers(false).pin(5, 2))).toBe(Errno.EFAULT);
    const fast = readers(true);
    expect(fast.pin(5, 2)).toBe(2);
    const [run] = [...fast.pinnedRuns(0, PAGES)];
    expect([run!.first, run!.frame]).toEqual([5, mm.frameAt(VADDR + 5)]);
    expect(fast.unpin(5, 2)).toBe(2);
  });

  test('may be charged to nobody', () => {
    const free = new UserPages(mm, VADDR, 4, RW, null);
    free.pin(0, 4);
    free.chargeAnyway(1);
    expect([memory.pinned, mm.lockedPages, free.lockedPages]).toEqual([4, 0, 5]);
    free.uncharge(1);
    free.unpin(0, 4);
    expect([memory.pinned, free.lockedPages]).toEqual([0, 0]);
  });

  test('moves to another account as a whole, or not at all', () => {
    const other = new SimulatedSpace(memory, { id: 1, ipcLock: false, lockLimitPages: 3 });
    pages.pin(0, 4);
    expect(errnoOf(() => pages.chargeTo(new ProcessAccount(other, false)))).toBe(Errno.ENOMEM);
    expect([mm.lockedPages, other.lockedPages]).toEqual([4, 0]);
    pages.chargeTo(new ProcessAccount(other, true));
    expect([mm.lockedPages, other.lockedPages]).toEqual([0, 4]);
    pages.chargeTo(null);
    expect([other.lockedPages, pages.lockedPages]).toEqual([0, 4]);
    pages.chargeTo(new ProcessAccount(mm, false));
    pages.unpin(0, 4);
    expect([mm.lockedPages, other.lockedPages]).toEqual([0, 0]);
  });

  test('is not charged where it is the shared zero page', () => {
    const zero = Object.assign(mm, { isReserved: (frame: number) => frame === ZERO_FRAME });
    const readable = new UserPages(zero, VADDR, 4, READ, new ProcessAccount(mm, false));
    mm.fillPages(VADDR + 1, 1, 1);
    mm.pin = (_first, count, _access, frames) => {
      for (let i = 0; i < count; i++) frames[i] = i === 1 ? mm.frameAt(VADDR + 1) : ZERO_FRAME;
      memory.pin(frames[1]!);
      return count;
    };
    readable.pin(0, 4);
    expect(mm.lockedPages).toBe(1);
    readable.unpin(0, 4);
    expect([mm.lockedPages, memory.pinned]).toEqual([0, 0]);
  });

  test('what is unpinned and was not pinned is our own bug', () => {
    expect(() => pages.unpin(0, 1)).toThrow('not pinned');
    pages.pin(0, 2);
    expect(() => pages.unpin(0, 1)).toThrow('not pinned');
    expect([...new UserPages(mm, VADDR, 1, RW, null).pinnedRuns(0, 1)]).toEqual([]);
  });

  test('an account of a process refuses what is above the limit, but not with CAP_IPC_LOCK', () => {
    const account = new ProcessAccount(mm, false);
    expect(account.charge(PAGES + 1)).toBe(Errno.ENOMEM);
    expect(mm.lockedPages).toBe(0);
    expect(new ProcessAccount(mm, true).charge(PAGES + 1)).toBe(0);
    expect(account.charge(1, true)).toBe(0);
    account.release(PAGES + 2);
    expect(mm.lockedPages).toBe(0);
  });
});

describe('runs of pinned pages', () => {
  test('begin where frames do not follow, or the account changes, in whatever order pages come', () => {
    const runs = new PinnedRuns();
    for (const [page, frame, charged] of [
      [10, 100, true],
      [11, 101, true],
      [12, 102, false],
      [13, 200, false],
      [5, 50, true],
      [3, 30, false],
      [7, 52, true],
      [6, 51, true],
    ] as const)
      runs.add(page, frame, charged);
    const told = (first: number, end: number) =>
      [...runs.within(first, end)].map((run) => [run.first, run.frame, run.count, run.charged]);
    expect(told(0, 100)).toEqual([
      [3, 30, 1, false],
      [5, 50, 2, true],
      [7, 52, 1, true],
      [10, 100, 2, true],
      [12, 102, 1, false],
      [13, 200, 1, false],
    ]);
    expect(told(6, 12)).toEqual([
      [6, 51, 1, true],
      [7, 52, 1, true],
      [10, 100, 2, true],
    ]);
    runs.remove(6, 11);
    expect(told(0, 12)).toEqual([
      [3, 30, 1, false],
      [5, 50, 1, true],
      [11, 101, 1, true],
    ]);
  });
});

test('what is taken out of runs of pinned pages leaves what lies on both sides, and nothing else', () => {
  const take = (first: number, end: number) => {
    const runs = new PinnedRuns();
    for (let page = 10; page < 20; page++) runs.add(page, page + 100, true);
    runs.remove(first, end);
    return [...runs.within(0, 100)].map((run) => [run.first, run.frame, run.count]);
  };
  expect(take(15, 20)).toEqual([[10, 110, 5]]);
  expect(take(10, 15)).toEqual([[15, 115, 5]]);
  expect(take(12, 14)).toEqual([
    [10, 110, 2],
    [14, 114, 6],
  ]);
  expect(take(10, 20)).toEqual([]);
});
