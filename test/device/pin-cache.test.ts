import { expect, test } from 'vitest';
import { PinCache } from '../../src/device/pin-cache.js';
import { PAGE_SIZE, READ, WRITE } from '../../src/mm/address-space.js';
import type { DriverMemory } from '../../src/vfio/pci-function.js';

/** A cache of a device that can wait at pages [4, 8) only, and what it pins. */
function cacheOf() {
  const calls: unknown[] = [];
  const driver = {
    pin: (page: number, count: number, access: number) => {
      calls.push(['pin', page, count, access]);
      return page === 13 ? -14 : 0;
    },
    unpin: (page: number, count: number) => calls.push(['unpin', page, count]),
  } as unknown as DriverMemory;
  const cache = new PinCache([{ first: 4, end: 8 }], () => driver);
  return { cache, taken: () => calls.splice(0) };
}

test('R7.1: pages where a device cannot wait are pinned at their first use', () => {
  const { cache, taken } = cacheOf();
  expect(cache.hold(3 * PAGE_SIZE + 1, 6 * PAGE_SIZE - 1, true)).toBe(true);
  expect(taken()).toEqual([
    ['pin', 3, 1, WRITE],
    ['pin', 8, 1, WRITE],
  ]);
  expect(cache.hold(8 * PAGE_SIZE + 4095, 2, false)).toBe(true);
  expect(taken()).toEqual([['pin', 9, 1, READ]]);
});

test('one that cannot be pinned is tried again, and those before it stay', () => {
  const { cache, taken } = cacheOf();
  expect(cache.hold(12 * PAGE_SIZE, 2 * PAGE_SIZE, false)).toBe(false);
  expect(cache.hold(12 * PAGE_SIZE, 2 * PAGE_SIZE, false)).toBe(false);
  expect(taken()).toEqual([
    ['pin', 12, 1, READ],
    ['pin', 13, 1, READ],
    ['pin', 13, 1, READ],
  ]);
});

test('a pin goes with the mapping, or with the device’s reset, once', () => {
  const { cache, taken } = cacheOf();
  cache.hold(8 * PAGE_SIZE, 4 * PAGE_SIZE, false);
  taken();
  cache.dmaUnmap(9, 2);
  expect(taken()).toEqual([
    ['unpin', 9, 1],
    ['unpin', 10, 1],
  ]);
  cache.release();
  expect(taken()).toEqual([
    ['unpin', 8, 1],
    ['unpin', 11, 1],
  ]);
  cache.release();
  expect(taken()).toEqual([]);
  cache.hold(8 * PAGE_SIZE, 1, false);
  expect(taken()).toEqual([['pin', 8, 1, READ]]);
});

test('while the device is not open nothing can be pinned', () => {
  const cache = new PinCache([], () => null);
  expect(cache.hold(0, 1, false)).toBe(false);
});
