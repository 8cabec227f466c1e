import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AddressMap } from '../../src/trace/address-map.js';
import { Timeline } from '../../src/trace/timeline.js';

const sum = (values: readonly number[]): number =>
  values.reduce((total, value) => total + value, 0);

describe('a timeline', () => {
  it('keeps every fault and all stalled time, however long the run gets', () => {
    const part = fc.record({
      us: fc.double({ min: 0.1, max: 1e6, noNaN: true }),
      stalled: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 300 }), (parts) => {
        const timeline = new Timeline();
        let at = 0;
        let stalled = 0;
        for (const { us, stalled: waits } of parts) {
          timeline.fault(at);
          timeline.invalidation(at);
          timeline.advance(at, us, { mappedPages: 20, residentPages: 10, pinnedPages: 3 }, waits);
          at += us;
          if (waits) stalled += us;
        }
        const { steps } = timeline;
        expect(steps.length).toBeLessThanOrEqual(256);
        const ends = [...steps.slice(1).map(({ seconds }) => seconds * 1e6), at];
        expect(sum(steps.map(({ faults }) => faults))).toBe(parts.length);
        expect(sum(steps.map(({ invalidations }) => invalidations))).toBe(parts.length);
        expect(
          sum(steps.map((step, i) => step.stalled * (ends[i]! - step.seconds * 1e6))),
        ).toBeCloseTo(stalled, 3);
        for (const step of steps) {
          expect(step.mappedPages).toBeCloseTo(20, 3);
          expect(step.residentPages).toBeCloseTo(10, 3);
          expect(step.pinnedPages).toBeCloseTo(3, 3);
        }
        expect(timeline.rampUs).toBeLessThanOrEqual(at);
      }),
    );
  });

  it('has its ramp at the first step that works for 95 % of the time, after the first stall', () => {
    const timeline = new Timeline();
    const none = { mappedPages: 0, residentPages: 0, pinnedPages: 0 };
    timeline.advance(0, 64, none, false);
    timeline.advance(64, 64, none, true);
    timeline.advance(128, 128, none, false);
    expect(timeline.rampUs).toBe(128);
    expect(new Timeline().rampUs).toBe(0);
  });
});

describe('an address map', () => {
  it('has mappings and what is done with them in the same steps, whichever goes on longer', () => {
    const [early, late] = [5, 100_000];
    for (const [mappedAt, touchedAt] of [
      [early, late],
      [late, early],
    ] as const) {
      const map = new AddressMap();
      map.mappingAdded(mappedAt, 0, 1);
      map.touched(touchedAt, 0, 1);
      const { mappings, rows, stepSeconds } = map.data;
      const step = (at: number): number => Math.floor(at / (stepSeconds * 1e6));
      expect(stepSeconds).toBe(1024e-6);
      expect(mappings.rows[0]!.cells).toEqual([{ step: step(mappedAt), added: 1, removed: 0 }]);
      expect(rows[0]!.cells[0]).toMatchObject({ step: step(touchedAt), touched: 1 });
    }
  });

  it('keeps every page of every kind in at most 64 rows, whatever is touched', () => {
    const touch = fc.record({
      at: fc.integer({ min: 0, max: 1_000_000 }),
      page: fc.oneof(fc.integer({ min: 0, max: 1000 }), fc.integer({ min: 2 ** 20, max: 2 ** 35 })),
      count: fc.integer({ min: 1, max: 100 }),
    });
    fc.assert(
      fc.property(fc.array(touch, { minLength: 1, maxLength: 200 }), (touches) => {
        const map = new AddressMap();
        for (const { at, page, count } of touches) {
          map.touched(at, page, count);
          map.faulted(at, page);
          map.taken(at, page, count);
          map.mappingAdded(at, page, count);
          map.mappingRemoved(at + 1, page, count);
        }
        const { mappings, rows, rowBytes, stepSeconds } = map.data;
        const changes = mappings.rows.flatMap((row) => row.cells);
        expect(mappings.rows.length).toBeLessThanOrEqual(256);
        for (const kind of ['added', 'removed'] as const)
          expect(sum(changes.map((cell) => cell[kind]))).toBe(
            sum(touches.map(({ count }) => count)),
          );
        expect(rows.length).toBeLessThanOrEqual(64);
        const cells = rows.flatMap((row) => row.cells);
        expect(sum(cells.map(({ touched }) => touched))).toBe(
          sum(touches.map(({ count }) => count)),
        );
        expect(sum(cells.map(({ taken }) => taken))).toBe(sum(touches.map(({ count }) => count)));
        expect(sum(cells.map(({ faulted }) => faulted))).toBe(touches.length);
        for (const { at, page } of touches) {
          const row = rows.find(({ iova }) => iova <= page * 4096 && page * 4096 < iova + rowBytes);
          const cell = row!.cells.find(
            ({ step }) => step === Math.floor(at / (stepSeconds * 1e6) + 1e-9),
          );
          expect(cell!.faulted).toBeGreaterThan(0);
        }
      }),
    );
  });
});
