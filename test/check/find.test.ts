import { describe, expect, test } from 'vitest';
import { replay } from '../../src/check/report/history.js';
import { scenarios } from '../../src/check/scenarios/index.js';
import { explore } from '../../src/check/search/explorer.js';
import { partsOf, runRandom } from '../../src/check/search/find.js';
import { runJob } from '../../src/check/search/job.js';
import { STEPS_MAX } from '../../src/check/search/rounds.js';
import type { ScenarioReport } from '../../src/check/search/run-scenario.js';
import { Invariant } from '../../src/check/verify/violation.js';
import { shippedParts } from '../../src/check/world/parts.js';
import type { Scenario } from '../../src/check/world/scenario.js';
import { canaries } from './canaries.js';

/**
 * What it reads is told to it each time, so it knows something new in every state and never is
 * where it was.
 */
const endless: Scenario = {
  name: 'endless',
  about: 'a device reads for ever',
  rows: ['R2.1'],
  world: { pages: 1 },
  setup: (world) => world.programs[0]!.map(0, 1),
  actors: {
    *device(world) {
      for (;;) yield* world.devices[0]!.read(0);
    },
    host: (world) => world.host.discard(0),
  },
};

/** So many orders are enough, or it sees nothing. */
function atMost(orders: number): () => boolean {
  return () => orders-- === 0;
}

describe('an order that does not end', () => {
  const about = 'a page-in starts again whatever happened';
  const parts = { ...shippedParts, ...canaries.find((canary) => canary.about === about)!.parts };
  const scenario = scenarios.find(({ name }) => name === 'two-faults-one-page')!;

  test('replays where every order was run', () => {
    const { found } = explore(scenario, { parts, statesMax: 10_000 });
    expect(found!.violation.invariant).toBe(Invariant.PROGRESS);
    expect(replay(scenario, parts, found!.order).violation?.message).toBe(found!.violation.message);
  });

  test('is shown by its first round where it goes round, and replays', () => {
    const { found } = runRandom(scenario, parts, 1, atMost(100));
    expect(found!.violation.invariant).toBe(Invariant.PROGRESS);
    expect(found!.violation.detail).toMatch(/^\d+ steps lead back to the state before them$/);
    expect(found!.order.length).toBeLessThan(40);
    const again = replay(scenario, parts, found!.order);
    expect(again.violation?.message).toBe(found!.violation.message);
    expect(again.steps.length).toBe(found!.order.length);
    expect(replay(scenario, parts, found!.order.slice(0, -1)).violation).toBeNull();
  });

  test('is given up after so many steps where it goes on and on, and replays', () => {
    const { found, orders } = runRandom(endless, shippedParts, 1, atMost(100));
    expect(orders).toBe(1);
    expect(found!.violation.invariant).toBe(Invariant.PROGRESS);
    expect(found!.violation.detail).toBe('1,000 steps and no end: device at read 0x200');
    expect(found!.order.length).toBe(STEPS_MAX);
    expect(replay(endless, shippedParts, found!.order).violation?.message).toBe(
      found!.violation.message,
    );
    expect(replay(endless, shippedParts, found!.order.slice(0, -1)).violation).toBeNull();
  });
});

test('shipped scenarios end in every random order, far below the bound', () => {
  for (const scenario of scenarios) {
    expect(runRandom(scenario, partsOf(null), 3, atMost(50)).found, scenario.name).toBeNull();
    expect(explore(scenario, { statesMax: 500 }).longest).toBeLessThan(STEPS_MAX / 5);
  }
});

test('a job says how many orders were run, how many steps were known, and how many rounds were not fair', async () => {
  const reports: ScenarioReport[] = [];
  const ref = { name: 'fault-migrate-unmap', module: null };
  const bounds = { statesMax: 1000, randomSeconds: 0, seed: 1, stepsMax: null, size: null };
  const job = { scenarios: [ref], variant: null, share: null, ...bounds };
  await runJob(
    job,
    (report) => reports.push(report),
    () => {},
  );
  const { runs, stepsKnown, rounds, orders, states, exhaustive, violations } = reports[0]!;
  expect({ orders, rounds, exhaustive, violations }).toEqual({
    orders: 92,
    rounds: 0,
    exhaustive: true,
    violations: [],
  });
  expect(runs).toBeGreaterThan(1);
  expect(runs).toBeLessThan(states);
  expect(stepsKnown).toBeGreaterThan(0);
});
