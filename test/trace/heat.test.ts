/** The heat of addresses, against a plain count of every page. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HeatMap } from '../../src/trace/heat.js';

const END = 2 ** 36;

/** The same, without bounds. */
class Plain {
  readonly touched = new Map<number, number>();
  readonly faulted = new Map<number, number>();

  static sum(counts: Map<number, number>, first: number, end: number): number {
    let sum = 0;
    for (const [page, count] of counts) if (page >= first && page < end) sum += count;
    return sum;
  }
}

const add = (counts: Map<number, number>, page: number): void =>
  void counts.set(page, (counts.get(page) ?? 0) + 1);

const page = fc.oneof(
  fc.integer({ min: 0, max: 2000 }),
  fc.integer({ min: 0, max: 300 }).map((below) => END - 1 - below),
  fc.double({ min: 0, max: END - 1, noNaN: true }).map(Math.floor),
);

test('every row has the sum of its pages, whatever was touched and wherever the rows are', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(page, fc.boolean()), { maxLength: 200 }),
      fc.array(
        fc.tuple(page, fc.integer({ min: 1, max: 2 ** 30 }), fc.integer({ min: 1, max: 40 })),
        {
          minLength: 1,
          maxLength: 5,
        },
      ),
      (events, questions) => {
        const heat = new HeatMap();
        const plain = new Plain();
        for (const [at, isFault] of events) {
          if (isFault) heat.fault(at);
          else heat.touch(at);
          add(isFault ? plain.faulted : plain.touched, at);
        }
        for (const copy of [heat, HeatMap.from(structuredClone(heat.data))]) {
          for (const [first, pagesPerRow, rows] of questions) {
            const sums = copy.rows(first, pagesPerRow, rows);
            for (let row = 0; row < rows; row++) {
              const [from, to] = [first + row * pagesPerRow, first + (row + 1) * pagesPerRow];
              expect(sums.touched[row]).toBe(Plain.sum(plain.touched, from, to));
              expect(sums.faulted[row]).toBe(Plain.sum(plain.faulted, from, to));
            }
          }
        }
      },
    ),
    { numRuns: 200 },
  );
});

describe('what is taken away', () => {
  test('counts pages where a device has been, down to the page', () => {
    const heat = new HeatMap();
    heat.touch(1000);
    heat.take(998, 4);
    expect(heat.rows(996, 1, 8).taken).toEqual([0, 0, 1, 1, 1, 1, 0, 0]);
  });

  test('makes nothing of a mapping that no device has touched, however large', () => {
    const heat = new HeatMap();
    heat.touch(5);
    heat.take(0, END);
    expect(heat.data.keys).toHaveLength(1);
    expect(heat.rows(0, 256, 1).taken).toEqual([256]);
    expect(heat.rows(256, END - 256, 1).taken).toEqual([0]);
  });
});

test('runs of pages that were touched since the last time, each once', () => {
  const heat = new HeatMap();
  const news = (): [number, number][] => {
    const runs: [number, number][] = [];
    heat.eachNew((first, count) => runs.push([first, count]));
    return runs;
  };
  for (const at of [10, 11, 11, 12, 254, 255, 256, 9000]) heat.touch(at);
  expect(news()).toEqual([
    [10, 3],
    [254, 2],
    [256, 1],
    [9000, 1],
  ]);
  expect(news()).toEqual([]);
  heat.touch(11);
  heat.fault(500);
  expect(news()).toEqual([[11, 1]]);
});

test('counts go on where a picture was taken, in wide cells, too', () => {
  const heat = new HeatMap();
  for (let at = 0; at < 2 ** 22; at += 256) heat.touch(at);
  const copy = HeatMap.from(structuredClone(heat.data));
  expect(copy.pagesPerCell).toBe(heat.pagesPerCell);
  for (const each of [heat, copy])
    for (let at = 0; at < 2 ** 22; at += 1024) {
      each.touch(at);
      each.fault(at);
    }
  expect(copy.rows(0, 2 ** 14, 256)).toEqual(heat.rows(0, 2 ** 14, 256));
  expect(copy.rows(0, 2 ** 14, 256).touched).toEqual(new Array(256).fill(64 + 16));
});

test('memory is bounded: cells widen, no count is lost, and what is wide is spread over its rows', () => {
  const heat = new HeatMap();
  let touches = 0;
  // A page of every MiB of 16 GiB, then of every GiB of all that there is.
  for (let at = 0; at < 2 ** 22; at += 256, touches++) heat.touch(at);
  for (let at = 0; at < END; at += 2 ** 18, touches++) heat.touch(at);
  expect(heat.data.keys.length).toBeLessThanOrEqual(4096);
  expect(heat.data.counts.touched.cells.length).toBeLessThanOrEqual(4096 * 256);
  expect(heat.pagesPerCell).toBeGreaterThan(1);
  expect(Number.isInteger(Math.log2(heat.pagesPerCell))).toBe(true);
  // Each row has what lies in it, however often its cells were joined.
  const perRow = heat.rows(2 ** 22, END / 2 ** 10, 2 ** 9).touched;
  expect(new Set(perRow)).toEqual(new Set([2 ** 8]));
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
  expect(sum(heat.rows(0, END / 16, 16).touched)).toBe(touches);
  expect(sum(heat.rows(0, 1, heat.pagesPerCell).touched)).toBeCloseTo(
    heat.rows(0, heat.pagesPerCell, 1).touched[0]!,
  );
});
