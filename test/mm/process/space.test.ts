/** The memory of a live process: this one. */

import { fstatSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Errno } from '../../../src/abi/errno.js';
import { MAP_SHARED } from '../../../src/abi/linux.js';
import { type MmuNotifier, PAGE_SIZE, READ, WRITE } from '../../../src/mm/address-space.js';
import { allocateNative, madvise, memfdCreate, mmap, must } from '../../../src/mm/process/libc.js';
import { Presence } from '../../../src/mm/process/pagemap.js';
import { ProcessSpace } from '../../../src/mm/process/space.js';
import { fileKey } from '../../../src/mm/process/vmas.js';
import { skip } from '../../skip.js';

const PAGES = 1200;
const MADV_DONTNEED = 4;
const frames = new Float64Array(PAGES);

const spaceOf = (countsPins = false, taskSize = 2 ** 47): ProcessSpace =>
  new ProcessSpace(0, process.pid, {
    deviceFiles: new Map(),
    sharesZeroPage: false,
    countsPins,
    taskSize,
  });

/** Pages of [first, first + PAGES) that are in memory and not the zero page. */
function present({ pagemap }: ProcessSpace, first: number): number {
  let pages = 0;
  for (let at = first; at < first + PAGES; at = pagemap.stopped) {
    pagemap.find(Presence.PRESENT, at, first + PAGES);
    for (let region = 0; region < pagemap.count; region++)
      pages += pagemap.end[region]! - pagemap.first[region]!;
  }
  return pages;
}

test('pages pinned for writing are the process’s own from then on, as FOLL_WRITE makes them; their bytes stay', () => {
  const space = spaceOf();
  const { address, bytes } = allocateNative(PAGES * PAGE_SIZE);
  const first = address / PAGE_SIZE;
  bytes[7 * PAGE_SIZE] = 77;
  expect(present(space, first)).toBe(1);
  expect(space.pin(first, PAGES, READ | WRITE, frames)).toBe(PAGES);
  expect(present(space, first)).toBe(PAGES);
  expect(bytes.reduce((sum, byte) => sum + byte, 0)).toBe(77);
});

test('memory beyond the task size is neither brought in nor pinned, as where page tables have five levels', () => {
  const { address } = allocateNative(PAGES * PAGE_SIZE);
  const first = address / PAGE_SIZE;
  const space = spaceOf(false, address + 3 * PAGE_SIZE);
  expect(space.pageIn(first, PAGES, READ, frames)).toBe(3);
  expect(space.pin(first, PAGES, READ | WRITE, frames)).toBe(3);
  expect(space.pageIn(first + 3, 1, READ, frames)).toBe(0);
  expect(space.pin(first + 4, 1, READ, frames)).toBe(-Errno.EFAULT);
});

test('pages brought in for a device, or pinned for reading, take no memory as long as nobody wrote them', (context) => {
  const space = spaceOf();
  const untouched = allocateNative(PAGES * PAGE_SIZE);
  const read = untouched.bytes[0];
  // Some hosts' kernels have none (pvm_no_zero_page=1): a load makes a page there.
  if (read !== 0 || present(space, untouched.address / PAGE_SIZE) !== 0)
    skip(context, 'this kernel has no shared zero page');
  const { address } = allocateNative(PAGES * PAGE_SIZE);
  const first = address / PAGE_SIZE;
  expect(space.pageIn(first, PAGES, READ | WRITE, frames)).toBe(PAGES);
  expect(space.pin(first, PAGES, READ, frames)).toBe(PAGES);
  expect(present(space, first)).toBe(0);
});

test('pins are remembered by page, until as many have been undone', () => {
  const space = spaceOf(true);
  const first = allocateNative(PAGES * PAGE_SIZE).address / PAGE_SIZE;
  const both = new Float64Array(10);
  space.pin(first + 100, 10, READ, both);
  space.pin(first + 105, 10, READ, frames);
  space.unpin(both, 10);
  expect(space.nextPinned(true, first, first + PAGES)).toBe(first + 105);
  expect(space.nextPinned(false, first + 105, first + PAGES)).toBe(first + 115);
  space.unpin(frames, 10);
  expect(space.nextPinned(true, first, first + PAGES)).toBe(first + PAGES);
});

test('what is absent of a range is told as reclaimed, to every notifier', () => {
  const space = spaceOf();
  const { address, bytes } = allocateNative(PAGES * PAGE_SIZE);
  const first = address / PAGE_SIZE;
  bytes.fill(1);
  const told: unknown[] = [];
  const notifier = (name: string): MmuNotifier => ({
    invalidate: (page, count, reclaimed) => told.push([name, page - first, count, reclaimed]),
    release: () => {},
  });
  const end = space.subscribe(notifier('a'));
  space.subscribe(notifier('b'));
  space.dropAbsent(first, first + PAGES);
  expect(told).toEqual([]);
  const { invalidations } = space;
  must('madvise', madvise(address + 3 * PAGE_SIZE, 4 * PAGE_SIZE, MADV_DONTNEED));
  space.dropAbsent(first, first + PAGES);
  expect(told).toEqual([
    ['a', 3, 4, true],
    ['b', 3, 4, true],
  ]);
  // Page-ins that are under way start again (R3.3).
  expect(space.invalidations).toBe(invalidations + 1);
  end();
  space.dropAbsent(first, first + 4);
  expect(told.slice(2)).toEqual([['b', 3, 1, true]]);
});

test('reclaim is shown what the program writes or shares, and no device’s registers', () => {
  const fd = memfdCreate('shared', 0);
  const shared = must('mmap', mmap(0, 4 * PAGE_SIZE, 1, MAP_SHARED, fd, 2 * PAGE_SIZE)) / PAGE_SIZE;
  const own = allocateNative(4 * PAGE_SIZE).address / PAGE_SIZE;
  const { dev, ino } = fstatSync(fd);
  const deviceFiles = new Map([
    [fileKey((dev >>> 8) & 0xfff, dev & 0xff, ino), { isDecoding: () => true }],
  ]);
  const other = new ProcessSpace(0, process.pid, {
    deviceFiles,
    sharesZeroPage: false,
    taskSize: 2 ** 47,
  });
  expect(other.evictableAreas().some(({ first }) => first === shared)).toBe(false);
  const areas = spaceOf().evictableAreas();
  expect(areas.find(({ first, end }) => own >= first && own < end)).toMatchObject({
    isPrivate: true,
    filePage: -1,
  });
  expect(areas.find(({ first }) => first === shared)).toMatchObject({
    isPrivate: false,
    filePage: 2,
  });
  // Program text is private, and not written.
  for (const { isPrivate, permission } of areas)
    expect(!isPrivate || (permission & WRITE) !== 0).toBe(true);
});
