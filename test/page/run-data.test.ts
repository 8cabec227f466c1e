import { describe, expect, it } from 'vitest';
import type { LiveSample } from '../../src/live/live.js';
import { ofTimeline, SampleHistory } from '../../src/page/run-data.js';

const sample = (seconds: number, faults: number): LiveSample => ({
  kind: 'sample',
  seconds,
  mappedBytes: 8192,
  residentBytes: 4096,
  pinnedBytes: 0,
  counters: { faults, invalidations: 0 },
  latency: { '<0.1us': faults },
  devices: [],
  incidents: { refused: [], lostInterrupts: [], failedCalls: [] },
  ranges: [],
});

describe('a run over time', () => {
  it('of samples: rates are differences, and a sample that comes again counts once', () => {
    const history = new SampleHistory();
    for (const [seconds, faults] of [
      [0.5, 10],
      [0.5, 10],
      [1, 10],
      [0.5, 10],
      [3, 50],
    ] as const)
      history.add(sample(seconds, faults));
    expect(history.data).toMatchObject({
      seconds: [0.5, 1, 3],
      faults: [20, 0, 20],
      mapped: [8192, 8192, 8192],
    });
    expect(history.samples.at(-1)).toEqual(sample(3, 50));
    expect(history.samples[0]!.latency).toEqual({});
  });

  it('of an hour of samples: few, in order, from the first to the last, and no fault is lost', () => {
    const history = new SampleHistory();
    const all = 4 * 3600;
    for (let index = 1; index <= all; index++) history.add(sample(index / 4, index));
    const { faults, seconds } = history.data;
    expect(seconds.length).toBeLessThanOrEqual(513);
    expect(seconds.length).toBeGreaterThan(200);
    expect([seconds[0], seconds.at(-1)]).toEqual([0.25, 3600]);
    const total = faults.reduce(
      (sum, rate, index) => sum + rate * (seconds[index]! - (seconds[index - 1] ?? 0)),
      0,
    );
    expect(total).toBeCloseTo(all, 6);
  });

  it('of a timeline: pages as bytes, counts as rates', () => {
    const step = {
      mappedPages: 2,
      residentPages: 1,
      pinnedPages: 0,
      faults: 3,
      invalidations: 1,
      reclaimed: 4,
      stalled: 0,
    };
    const data = ofTimeline([
      { ...step, seconds: 0 },
      { ...step, seconds: 0.5 },
    ]);
    expect(data).toEqual({
      seconds: [0, 0.5],
      mapped: [8192, 8192],
      resident: [4096, 4096],
      pinned: [0, 0],
      faults: [6, 6],
      invalidations: [2, 2],
      reclaimed: [8, 8],
    });
  });
});
