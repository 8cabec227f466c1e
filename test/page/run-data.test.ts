import { describe, expect, it } from 'vitest';
import { KeptSamples } from '../../src/live/kept-samples.js';
import type { LiveSample } from '../../src/live/live.js';
import { ofSamples, ofTimeline } from '../../src/page/run-data.js';

const device = {
  address: '0000:00:04.0',
  kind: 'edu',
  group: 1,
  space: { container: 0, ioas: null },
  open: true,
  faulting: true,
  pending: 0,
  faults: 0,
};

const sample = (seconds: number, faults: number): LiveSample => ({
  kind: 'sample',
  seconds,
  mappedBytes: 8192,
  residentBytes: 4096,
  pinnedBytes: 0,
  counters: { faults, invalidations: 0 },
  latency: { '<0.1us': faults },
  devices: [{ ...device, dmaBytesRead: faults * 3, dmaBytesWritten: faults }],
  incidents: { refused: [], lostInterrupts: [], failedCalls: [] },
  events: [],
  user: null,
  ranges: [],
});

describe('a run over time', () => {
  it('of samples: rates are differences, and a sample that comes again counts once', () => {
    const history = new KeptSamples();
    for (const [seconds, faults] of [
      [0.5, 10],
      [0.5, 10],
      [1, 10],
      [0.5, 10],
      [3, 50],
    ] as const)
      history.add(sample(seconds, faults));
    expect(ofSamples(history.samples)).toMatchObject({
      seconds: [0.5, 1, 3],
      faults: [20, 0, 20],
      mapped: [8192, 8192, 8192],
      devices: [{ address: '0000:00:04.0', bytes: [80, 0, 80] }],
    });
    expect(history.last).toEqual(sample(3, 50));
  });

  it('of an hour of samples: few, in order, from the first to the last, and no fault is lost', () => {
    const history = new KeptSamples();
    const all = 4 * 3600;
    for (let index = 1; index <= all; index++) history.add(sample(index / 4, index));
    const { faults, seconds } = ofSamples(history.samples);
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
      devices: [],
    });
  });
});
