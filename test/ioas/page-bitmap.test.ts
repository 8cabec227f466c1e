import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PageBitmap } from '../../src/ioas/page-bitmap.js';

test('a page bitmap does what a plain set does', () => {
  const range = fc.record({
    kind: fc.constantFrom('set', 'clear'),
    page: fc.oneof(fc.integer({ min: 0, max: 130 }), fc.integer({ min: 32_700, max: 33_000 })),
    count: fc.oneof(fc.integer({ min: 0, max: 70 }), fc.integer({ min: 0, max: 33_000 })),
  });
  fc.assert(
    fc.property(
      fc.array(range, { maxLength: 20, size: 'max' }),
      fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 70_000 })),
      (ranges, pages) => {
        const bitmap = new PageBitmap(pages);
        const model = new Set<number>();
        for (const { kind, page, count } of ranges) {
          const first = Math.min(page, pages);
          const length = Math.min(count, pages - first);
          const before = model.size;
          for (let at = first; at < first + length; at++) {
            if (kind === 'set') model.add(at);
            else model.delete(at);
          }
          const changed = kind === 'set' ? bitmap.set(first, length) : bitmap.clear(first, length);
          expect(changed).toBe(Math.abs(model.size - before));
          expect(bitmap.count).toBe(model.size);
        }
        const runs: [number, number][] = [];
        for (let at = bitmap.nextSet(0, pages); at < pages; ) {
          const stop = bitmap.nextClear(at, pages);
          runs.push([at, stop]);
          at = bitmap.nextSet(stop, pages);
        }
        const expected: [number, number][] = [];
        for (const page of [...model].sort((a, b) => a - b)) {
          const last = expected[expected.length - 1];
          if (last && last[1] === page) last[1]++;
          else expected.push([page, page + 1]);
        }
        expect(runs).toEqual(expected);
        for (const [from, to] of [
          [0, pages],
          [pages >> 2, pages - (pages >> 2)],
          [pages, 0],
        ] as const) {
          const inside = [...model].filter((page) => page >= from && page < to).length;
          expect(bitmap.countIn(from, to)).toBe(inside);
        }
        for (let page = 0; page < pages; page += 61)
          expect(bitmap.test(page)).toBe(model.has(page));
      },
    ),
    { numRuns: 100 },
  );
});

test('searches stop at the end that they are given', () => {
  const bitmap = new PageBitmap(100_000);
  bitmap.set(50_000, 10);
  expect(bitmap.nextSet(0, 50_000)).toBe(50_000);
  expect(bitmap.nextSet(0, 40_000)).toBe(40_000);
  expect(bitmap.nextSet(50_010, 100_000)).toBe(100_000);
  expect(bitmap.nextClear(50_000, 50_005)).toBe(50_005);
  expect(bitmap.nextClear(50_003, 100_000)).toBe(50_010);
});

test('a page of which nothing was ever set is clear, and so is the next one', () => {
  const bitmap = new PageBitmap(100_000);
  expect(bitmap.nextClear(70_000, 100_000)).toBe(70_000);
});

test.each([31, 32, 33, 64, 65])('each of %i pages is told from every other', (pages) => {
  for (let page = 0; page < pages; page++) {
    const bitmap = new PageBitmap(pages);
    bitmap.set(page, 1);
    const set = Array.from({ length: pages }, (_, at) => at).filter((at) => bitmap.test(at));
    expect([set, bitmap.nextSet(0, pages), bitmap.countIn(page, page + 1)]).toEqual([
      ...[[page], page, 1],
    ]);
    expect([bitmap.clear(page, 1), bitmap.test(page)]).toEqual([1, false]);
  }
});
