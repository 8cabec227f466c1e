import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PinCounts } from '../../../src/mm/process/pin-counts.js';

const PAGES = 70_000;

test('pins count by page, and the next page that is pinned or is not is found over any gap', () => {
  const page = fc.oneof(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: PAGES - 1 }));
  const range = fc.tuple(page, fc.integer({ min: 1, max: 5 }));
  fc.assert(
    fc.property(
      fc.array(range, { maxLength: 20 }),
      fc.array(fc.nat(), { maxLength: 20 }),
      (pinned, undone) => {
        const pins = new PinCounts();
        const naive = new Map<number, number>();
        const add = ([first, count]: [number, number], by: number): void => {
          for (let at = first; at < first + count; at++) {
            pins.add(at, by);
            naive.set(at, (naive.get(at) ?? 0) + by);
          }
        };
        for (const one of pinned) add(one, 1);
        const once = [...new Set(undone.map((index) => index % Math.max(1, pinned.length)))];
        for (const index of once) if (pinned[index] !== undefined) add(pinned[index], -1);
        for (const isPinned of [true, false]) {
          for (const from of [0, 50, 32_760, PAGES - 5]) {
            let expected = from;
            while (expected < PAGES && (naive.get(expected) ?? 0) > 0 !== isPinned) expected++;
            expect(pins.next(isPinned, from, PAGES)).toBe(expected);
          }
        }
      },
    ),
    { numRuns: 60 },
  );
});
