import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LiveMapColumn } from '../../src/live/live.js';
import { MapHistory } from '../../src/page/map-history.js';

/** Rows of one page from page 16 on; `touched` since the start. */
function column(touched: readonly number[], taken = touched.map(() => 0)): LiveMapColumn {
  const rows = touched.map(() => 1);
  return {
    first: 16,
    pagesPerRow: 1,
    pagesPerCell: 1,
    mapped: rows,
    resident: rows,
    touched,
    faulted: touched,
    taken,
  };
}

const noMappings = { rowBytes: 4096, rows: [] };

const touches = (history: MapHistory, page: number): number[] =>
  history.steps.map((_, step) => history.cell(step, page)?.touched ?? -1);

describe('the history of the map', () => {
  it('takes totals and shows what happened between them; of the first answer only how it is', () => {
    const history = new MapHistory(1);
    history.add(0.2, [column([5, 0])]);
    history.add(0.7, [column([7, 0])]);
    history.add(1.1, [column([7, 3])]);
    expect(touches(history, 16)).toEqual([2, 0]);
    expect(touches(history, 17)).toEqual([0, 3]);
    expect(history.cell(0, 18)).toBeNull();
    expect(history.cell(1, 17)).toMatchObject({
      first: 17,
      pages: 1,
      mapped: 1,
      resident: 1,
      faulted: 3,
    });
  });

  it('spreads what happened over the steps in which nobody answered', () => {
    const history = new MapHistory(1);
    history.add(0.5, [column([0])]);
    expect(history.add(4.5, [column([8])])).toBe(1);
    expect(touches(history, 16)).toEqual([0, 2, 2, 2, 2]);
    // How it was is what was known then, not what came later.
    history.add(7.5, [{ ...column([8]), resident: [0] }]);
    expect([4, 5, 6, 7].map((step) => history.cell(step, 16)!.resident)).toEqual([1, 1, 1, 0]);
    history.add(9.5, [{ ...column([9]), pagesPerRow: 2 }]);
    expect([8, 9].map((step) => history.cell(step, 16)!.pages)).toEqual([1, 2]);
  });

  it('knows nothing of what was before it asked', () => {
    const history = new MapHistory(1);
    history.add(3.5, [column([100])]);
    expect(touches(history, 16)).toEqual([-1, -1, -1, 0]);
  });

  it('begins anew where the rows are others', () => {
    const history = new MapHistory(1);
    history.add(0.1, [column([5])]);
    history.add(0.2, [{ ...column([50]), pagesPerRow: 2 }]);
    expect(touches(history, 16)).toEqual([0]);
    history.add(0.3, [{ ...column([54]), pagesPerRow: 2 }]);
    expect(history.cell(0, 17)).toMatchObject({ first: 16, pages: 2, touched: 4 });
  });

  it('loses nothing however long the run gets, and stays small', () => {
    const gap = fc.double({ min: 0.01, max: 500, noNaN: true });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(gap, fc.integer({ min: 0, max: 1000 })), {
          minLength: 1,
          maxLength: 200,
        }),
        (answers) => {
          const history = new MapHistory(0.5);
          history.add(0, [column([0])]);
          let at = 0;
          let total = 0;
          for (const [later, more] of answers) {
            at += later;
            total += more;
            history.add(at, [column([total])]);
          }
          expect(history.steps.length).toBeLessThanOrEqual(256);
          expect(history.steps.length * history.stepSeconds).toBeGreaterThan(at);
          expect(touches(history, 16).reduce((sum, each) => sum + each, 0)).toBeCloseTo(total, 3);
        },
      ),
    );
  });

  it('time goes on without answers: it is as it was, and nothing once nothing is mapped', () => {
    const history = new MapHistory(1);
    history.add(0.5, [column([5])]);
    expect(history.pass(2.5, true)).toBe(1);
    expect(history.seconds).toBe(3);
    expect(touches(history, 16)).toEqual([0, 0, 0]);
    expect(history.cell(2, 16)).toMatchObject({ mapped: 1, resident: 1 });
    expect(history.pass(3.2, false)).toBe(3);
    expect(history.cell(3, 16)).toMatchObject({ mapped: 0, resident: 0 });
    // An answer that was on its way shows what happened, and not what has gone.
    history.add(2.9, [column([9])]);
    history.pass(4.5, false);
    expect(touches(history, 16)).toEqual([0, 2, 2, 0, 0]);
    expect(history.cell(4, 16)).toMatchObject({ mapped: 0, resident: 0 });
    expect(history.pass(4.6, false)).toBe(5);
  });

  it('of a report has every cell, what is mapped, and what is left in the I/O page tables', () => {
    const cell = { touched: 0, faulted: 0, mapped: 0, taken: 0 };
    const history = MapHistory.of({
      stepSeconds: 0.5,
      rowBytes: 8192,
      rows: [
        {
          iova: 0x10000,
          cells: [
            { ...cell, step: 0, touched: 4, faulted: 1, mapped: 2 },
            { ...cell, step: 2, taken: 1 },
          ],
        },
      ],
      // Pages 16 to 31, until the step after the next.
      mappings: {
        rowBytes: 0x10000,
        rows: [
          {
            iova: 0x10000,
            cells: [
              { step: 0, added: 16, removed: 0 },
              { step: 3, added: 0, removed: 16 },
              { step: 4, added: 8, removed: 8 },
            ],
          },
        ],
      },
    });
    expect(touches(history, 17)).toEqual([4, 0, 0, 0, 0]);
    expect([0, 1, 2].map((step) => history.cell(step, 16)!.resident)).toEqual([2, 2, 1]);
    expect(history.cell(2, 16)).toMatchObject({ first: 16, pages: 2, taken: 1, mapped: 2 });
    // Where no device has been the mapping alone is shown; what came and went in a step, in it.
    expect([0, 1, 2, 3, 4].map((step) => history.cell(step, 20)!.mapped)).toEqual([
      16, 16, 16, 16, 8,
    ]);
    expect(history.cell(1, 20)).toMatchObject({ first: 16, pages: 16, touched: 0, resident: 0 });
  });

  it('laid under a live history shows where that knows nothing, and no more than happened', () => {
    const cell = { touched: 0, faulted: 0, mapped: 0, taken: 0 };
    const cells = [0, 1, 2, 3].map((step) => ({
      ...cell,
      step,
      touched: 4,
      mapped: step === 0 ? 1 : 0,
    }));
    const row = { iova: 0x10000, cells };
    for (const [stepSeconds, expected] of [
      [1, [4, 4, 4, 4]],
      [0.5, [8, 8]],
      [2, [2, 2, 2, 2, 2, 2, 2, 2]],
    ] as const) {
      const history = new MapHistory(1);
      history.underlay(
        MapHistory.of({ stepSeconds, rowBytes: 4096, rows: [row], mappings: noMappings }),
      );
      expect(touches(history, 16)).toEqual(expected);
      expect(history.cell(0, 16)).toMatchObject({ resident: 1, mapped: 0 });
    }
    const rows = Array.from({ length: 64 }, (_, index) => ({
      ...row,
      iova: 0x10000 + index * 0x100000,
    }));
    const sparse = new MapHistory(1);
    sparse.underlay(
      MapHistory.of({ stepSeconds: 0.5, rowBytes: 4096, rows, mappings: noMappings }),
    );
    for (const { iova } of rows) expect(sparse.cell(0, iova / 4096)).toMatchObject({ touched: 8 });
    const history = new MapHistory(1);
    history.add(5.5, [column([9])]);
    history.underlay(
      MapHistory.of({ stepSeconds: 1, rowBytes: 4096, rows: [row], mappings: noMappings }),
    );
    expect(touches(history, 16)).toEqual([4, 4, 4, 4, -1, 0]);
    expect(history.cell(5, 16)).toMatchObject({ broughtIn: null, mapped: 1 });
  });
});
