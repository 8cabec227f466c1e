import { describe, expect, test } from 'vitest';
import { coverageLines, coverageOf } from '../../src/check/report/coverage.js';
import { replay } from '../../src/check/report/history.js';
import { wholeOf } from '../../src/check/report/whole.js';
import { scenarios } from '../../src/check/scenarios/index.js';
import { parseBound } from '../../src/check/search/bound.js';
import { explore } from '../../src/check/search/explorer.js';
import { partsOf } from '../../src/check/search/find.js';
import { runScenario, type ScenarioReport } from '../../src/check/search/run-scenario.js';
import { scaledTo, sizeOf } from '../../src/check/search/scale.js';
import { ALL, type Share, split } from '../../src/check/search/split.js';
import { iopfWith, type Parts, shippedParts } from '../../src/check/world/parts.js';
import type { Scenario } from '../../src/check/world/scenario.js';
import type { Size } from '../../src/check/world/scenario-world.js';
import { ResidentPages } from '../../src/ioas/iopf/resident.js';
import type { Mapping } from '../../src/ioas/mapping.js';

const named = (wanted: string): Scenario => scenarios.find(({ name }) => name === wanted)!;

function run(scenario: Scenario, size: Size, parts: Parts, share: Share = ALL): ScenarioReport {
  const bounds = { statesMax: 100_000, randomSeconds: 0, seed: 1, stepsMax: null, size };
  const ref = { name: scenario.name, module: null };
  return runScenario(scenario, ref, { ref: null, parts, watch: null }, bounds, () => {}, share);
}

describe('a scenario that says how it is scaled', () => {
  const scalable = scenarios.filter(({ scaled }) => scaled !== undefined);

  test('is at least of the size that is asked for, and nothing breaks', () => {
    expect(scalable.length).toBeGreaterThan(10);
    for (const scenario of scalable) {
      const scaled = scaledTo(scenario, { pages: 3, devices: 3 });
      const own = sizeOf(scenario);
      const size = sizeOf(scaled);
      expect(size.pages * size.devices, scenario.name).toBeGreaterThan(own.pages * own.devices);
      expect(Object.keys(scaled.actors).length).toBeGreaterThanOrEqual(
        Object.keys(scenario.actors).length,
      );
      expect(explore(scaled, { statesMax: 100 }).found, scenario.name).toBeNull();
    }
  });

  test('is never smaller than it is', () => {
    for (const scenario of scalable)
      expect(sizeOf(scaledTo(scenario, { pages: 1, devices: 1 }))).toEqual(sizeOf(scenario));
  });
});

describe('shares by the first steps', () => {
  test.each([
    { name: 'fault-migrate-unmap', size: { pages: 2, devices: 1 }, stepsMax: 12 },
    { name: 'two-faults-remap', size: { pages: 1, devices: 3 }, stepsMax: 40 },
    { name: 'memory-thrash', size: { pages: 3, devices: 3 }, stepsMax: 15 },
    { name: 'two-takers', size: { pages: 2, devices: 1 }, stepsMax: 12 },
  ])('of $name cover just the orders of one search', ({ name, size, stepsMax }) => {
    const scenario = scaledTo(named(name), size);
    const { orders, cut } = explore(scenario, { stepsMax });
    const shares = split(scenario, shippedParts);
    expect(shares.length).toBeGreaterThanOrEqual(4);
    const sum = { orders: 0, cut: 0 };
    for (const { prefix, times } of shares) {
      const share = explore(scenario, { stepsMax, prefix });
      sum.orders += share.orders * times;
      sum.cut += share.cut * times;
    }
    expect(sum).toEqual({ orders, cut });
    expect(orders + cut).toBeGreaterThan(0);
  });

  test('with a beginning that no order has are refused', () => {
    expect(() => explore(named('aliases'), { prefix: [0, 7] })).toThrow(
      'no order of aliases begins with 0,7',
    );
  });
});

test.each(['fault-migrate-unmap', 'swap-in-remap', 'memory-thrash'])(
  'orders of %s that are cut are as many as one by one',
  (name) => {
    for (const stepsMax of [5, 8]) {
      const { orders, cut, exhaustive } = explore(named(name), { stepsMax });
      const oneByOne = explore(named(name), { stepsMax, merge: false });
      expect({ orders, cut }).toEqual({ orders: oneByOne.orders, cut: oneByOne.cut });
      expect(exhaustive).toBe(cut === 0);
    }
  },
);

describe('a mistake that shows only', () => {
  const withResident = (Resident: typeof ResidentPages): Parts => ({
    ...partsOf(null),
    Iopf: iopfWith({ ResidentPages: Resident }),
  });

  test.each([
    {
      where: 'with a third domain',
      name: 'two-faults-one-page',
      size: { pages: 1, devices: 4 },
      parts: withResident(
        class extends ResidentPages {
          override drop(mapping: Mapping, index: number, count: number): number {
            return this.backend.domains.length > 2 ? 0 : super.drop(mapping, index, count);
          }
        },
      ),
    },
    {
      where: 'on a third page',
      name: 'fault-migrate-unmap',
      size: { pages: 3, devices: 3 },
      parts: withResident(
        class extends ResidentPages {
          override drop(mapping: Mapping, index: number, count: number): number {
            return super.drop(mapping, index, Math.min(count, 2));
          }
        },
      ),
    },
  ])('$where is found in the scaled scenario alone, by any share, and replays', (canary) => {
    const { name, size, parts } = canary;
    expect(run(named(name), size, parts).violations).toEqual([]);
    const scenario = scaledTo(named(name), size);
    const [found] = run(scenario, size, parts).violations;
    const shares = split(scenario, parts).map((share) => run(scenario, size, parts, share));
    const whole = wholeOf(shares, shares.length);
    expect(whole.violations).toHaveLength(1);
    const [first] = whole.violations;
    expect(first!.order).toHaveLength(found!.order.length);
    expect(first!.invariant).toBe(found!.invariant);
    expect(first!.replay).toContain(`--bound pages=${size.pages},devices=${size.devices} --order`);
    expect(replay(scenario, parts, first!.order).violation?.detail).toBe(first!.detail);
    expect(whole.exhaustive).toBe(false);
  });
});

describe('--bound', () => {
  test('is read, and said with what was covered', () => {
    const bound = parseBound('steps=40,pages=3');
    expect(bound).toEqual({ pages: 3, devices: null, steps: 40 });
    const size = { pages: 3, devices: 1 };
    const reports = [
      { ...run(scaledTo(named('two-faults-remap'), size), size, shippedParts), cut: 1200 },
      run(named('aliases'), size, shippedParts),
    ];
    expect(coverageLines(coverageOf(bound, reports), reports)).toEqual([
      '3 pages, 2 devices: two-faults-remap',
      'not scaled: aliases',
      'orders longer than 40 steps were cut: 1,200 beginnings of two-faults-remap',
    ]);
  });

  test('a share that came to nothing leaves orders out', () => {
    const report = run(named('memory-thrash'), { pages: 1, devices: 1 }, shippedParts);
    expect(report.exhaustive).toBe(true);
    expect(wholeOf([report, report], 2)).toMatchObject({ exhaustive: true, orders: 52 });
    expect(wholeOf([report], 2)).toMatchObject({ exhaustive: false, orders: 26, shares: 2 });
  });

  test.each([
    ['page=3', "pages=N, devices=N and steps=N are possible, with commas: not 'page=3'"],
    ['pages=3,', "with commas: not ''"],
    ['devices=-1', "not 'devices=-1'"],
    ['devices=9', 'devices is a number from 1 to 8'],
    ['steps=0', 'steps is a number from 1 to 999'],
    ['pages=2,pages=2', 'pages is given twice'],
  ])('%s is refused', (text, message) => {
    expect(() => parseBound(text)).toThrow(message);
  });
});
