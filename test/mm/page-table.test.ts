import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PAGE_NUMBER_LIMIT, PageTable } from '../../src/mm/page-table.js';

/** Pages that meet each other, at every boundary of the radix. */
const page = fc.oneof(
  fc.integer({ min: 0, max: 200 }),
  fc.integer({ min: 65_500, max: 65_600 }),
  fc.integer({ min: 2 ** 26 - 70, max: 2 ** 26 + 70 }),
  fc.integer({ min: 2 ** 35 - 70, max: 2 ** 35 + 70 }),
  fc.integer({ min: PAGE_NUMBER_LIMIT - 300, max: PAGE_NUMBER_LIMIT - 150 }),
);
const frame = fc.oneof(
  fc.integer({ min: 0, max: 1000 }),
  fc.constantFrom(2 ** 30 - 75, 2 ** 31 - 75, 2 ** 32 - 75, 2 ** 33 - 75),
  fc.integer({ min: 2 ** 40, max: 2 ** 52 - 200 }),
);
const operation = fc.oneof(
  fc.record({
    kind: fc.constant('run' as const),
    page,
    count: fc.integer({ min: 1, max: 150 }),
    frame,
    bits: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({
    kind: fc.constant('frames' as const),
    page,
    count: fc.integer({ min: 1, max: 150 }),
    frame,
    bits: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({
    kind: fc.constant('clear' as const),
    page,
    count: fc.oneof(fc.integer({ min: 1, max: 150 }), fc.constant(2 ** 36)),
  }),
  fc.record({ kind: fc.constant('remove' as const), page, bits: fc.integer({ min: 1, max: 3 }) }),
);

test('a page table does what a plain map does', () => {
  fc.assert(
    fc.property(
      fc.array(operation, { maxLength: 60, size: 'max' }),
      fc.array(page),
      (operations, pages) => {
        const table = new PageTable();
        const model = new Map<number, { frame: number; bits: number }>();
        for (const step of operations) {
          if (step.kind === 'clear') {
            let removed = 0;
            for (const key of [...model.keys()]) {
              if (key < step.page || key >= step.page + step.count) continue;
              model.delete(key);
              removed++;
            }
            expect(table.clear(step.page, step.count)).toBe(removed);
          } else if (step.kind === 'remove') {
            const entry = model.get(step.page);
            if (entry) {
              entry.bits &= ~step.bits;
              if (entry.bits === 0) model.delete(step.page);
            }
            table.removeBits(step.page, step.bits);
          } else {
            const frames = Float64Array.from({ length: step.count }, (_, i) =>
              step.kind === 'run' ? step.frame + i : step.frame + ((i * 7) % 150),
            );
            for (let i = 0; i < step.count; i++)
              model.set(step.page + i, { frame: frames[i]!, bits: step.bits });
            if (step.kind === 'run') table.setRun(step.page, step.frame, step.count, step.bits);
            else table.setFrames(step.page, frames, step.count, step.bits);
          }
          expect(table.present).toBe(model.size);
        }
        for (const [at, entry] of model) {
          expect(table.lookup(at, 0)).toBe(entry.frame);
          expect(table.lookup(at, 3)).toBe(entry.bits === 3 ? entry.frame : -1);
          expect(table.bits(at)).toBe(entry.bits);
        }
        for (const [i, first] of [...pages, ...operations.map((step) => step.page)].entries()) {
          const access = i & 3;
          const expected: number[] = [];
          for (let entry = model.get(first); entry && expected.length < 100; ) {
            if ((entry.bits & access) !== access) break;
            expected.push(entry.frame);
            entry = model.get(first + expected.length);
          }
          const frames = new Float64Array(101).fill(-5);
          expect(table.lookupRun(first, 100, access, frames)).toBe(expected.length);
          expect([...frames]).toEqual([...expected, ...new Array(101 - expected.length).fill(-5)]);
        }
        const found: number[] = [];
        for (
          let at = table.nextPresent(0, 2 ** 36);
          at < 2 ** 36;
          at = table.nextPresent(at + 1, 2 ** 36)
        ) {
          found.push(at);
        }
        expect(found).toEqual([...model.keys()].sort((a, b) => a - b));
      },
    ),
    { numRuns: 80 },
  );
});

test('an empty table costs little, a huge one that was emptied as little again', () => {
  const table = new PageTable();
  const empty = table.bytes;
  expect(empty).toBeLessThan(64 * 1024);
  for (let i = 0; i < 5000; i++) table.set(i * 1_000_003, i, 3);
  expect(table.bytes).toBeGreaterThan(1024 * 1024);
  table.clear(0, 2 ** 36);
  expect(table.bytes).toBe(empty);
  expect(table.lookup(1_000_003, 0)).toBe(-1);
  table.set(7, 9, 3);
  expect(table.lookup(7, 3)).toBe(9);
});

test.each([
  ['one that is never empty', 5],
  ['one that is empty in between', -1],
])('parts of a table that get empty are used again: %s', (_what, kept) => {
  const table = new PageTable();
  const before = table.bytes;
  // It has been large, and is as small as a new one.
  for (let i = 0; i < 1000; i++) table.set(i * 1_000_003, i, 3);
  table.clear(0, 2 ** 36);
  expect(table.bytes).toBe(before);
  if (kept >= 0) table.set(kept, 1, 1);
  for (let i = 1; i <= 5_000; i++) {
    table.set(i * 4_000_037, i, 1);
    expect(table.clear(i * 4_000_037, 1)).toBe(1);
  }
  expect(table.bytes).toBeLessThanOrEqual(2 * before);
});

test('pages outside the table have no entry', () => {
  const table = new PageTable();
  table.set(PAGE_NUMBER_LIMIT - 1, 5, 3);
  for (const outside of [-1, PAGE_NUMBER_LIMIT, 2 ** 52]) expect(table.lookup(outside, 0)).toBe(-1);
  expect(() => table.set(PAGE_NUMBER_LIMIT, 1, 3)).toThrow('outside');
});
