import { describe, expect, test } from 'vitest';
import { scenarios } from '../../src/check/scenarios/index.js';
import { explore } from '../../src/check/search/explorer.js';
import { partsOf, runRandom } from '../../src/check/search/find.js';
import { onContainer, onMemory, VADDR } from '../../src/check/world/operation.js';
import type { Scenario } from '../../src/check/world/scenario.js';
import type { World } from '../../src/check/world/world.js';
import type { Flow } from '../../src/flow/flow.js';
import { skip } from '../skip.js';

const careless = (operation: (world: World) => Flow<void>): Scenario => ({
  name: 'careless',
  about: 'an operation does not say what it sees',
  rows: [],
  world: { pages: 1 },
  actors: { operation, host: (world) => world.host.migrate(0) },
});

const explored = new Map<Scenario, ReturnType<typeof explore>>();
/** What every order of a scenario came to. */
function everyOrder(scenario: Scenario): ReturnType<typeof explore> {
  const known = explored.get(scenario) ?? explore(scenario);
  explored.set(scenario, known);
  return known;
}

describe('the shipped code, in every order', () => {
  const counts = { scenarios: 0, states: 0, runs: 0 };
  const counted = { container: { ...counts }, iommufd: { ...counts } };

  test.each(scenarios)('$name: $about ($rows)', (scenario) => {
    const { found, exhaustive, orders, states, runs } = everyOrder(scenario);
    const front = counted[scenario.world?.iommufd === undefined ? 'container' : 'iommufd'];
    front.scenarios++;
    front.states += states;
    front.runs += runs;
    expect(found && `${found.violation.message} after ${found.order}`).toBeNull();
    expect(exhaustive).toBe(true);
    expect(orders).toBeGreaterThan(1);
  });

  // Other numbers are another behaviour, or a search that looks at less.
  test('is as many states as ever', () => {
    expect(counted).toEqual({
      container: { scenarios: 58, states: 56_848, runs: 34_529 },
      iommufd: { scenarios: 9, states: 2_667, runs: 1_464 },
    });
  });
});

describe('the rows of the series', () => {
  const wanted = [
    'R1.3',
    'R1.4',
    'R2.1',
    'R2.3',
    'R3.1',
    'R3.2',
    'R3.3',
    'R4.1',
    'R5.2',
    'R5.3',
    'R5.5',
    'R5.6',
    'R5.7',
  ];
  const more = ['R5.8', 'R5.10', 'R5.11', 'R6.1', 'R6.2', 'R6.3', 'R7.1', 'R7.2', 'R8.1'];

  test.each([...wanted, ...more])('%s has a scenario', (row) => {
    expect(scenarios.filter(({ rows }) => rows.includes(row))).not.toEqual([]);
  });

  test('there are at least 15 scenarios, of two to four actors', () => {
    expect(scenarios.length).toBeGreaterThanOrEqual(15);
    for (const { actors } of scenarios) {
      expect(Object.keys(actors).length).toBeGreaterThanOrEqual(2);
      expect(Object.keys(actors).length).toBeLessThanOrEqual(4);
    }
  });
});

describe('meeting in a state', () => {
  /** Running every order of the others by itself takes more than a moment. */
  const ORDERS_EACH = 30_000;

  test.for(scenarios)('loses no order of $name', (scenario, context) => {
    const merged = everyOrder(scenario);
    if (merged.orders > ORDERS_EACH)
      skip(context, `${merged.orders} orders, too many to run each by itself`);
    const each = explore(scenario, { merge: false, reduce: false });
    expect(each.found).toBeNull();
    expect(merged.orders).toBe(each.orders);
    expect(merged.runs).toBeLessThanOrEqual(each.runs);
  });

  test('most scenarios are small enough for that', () => {
    const small = scenarios.filter((scenario) => everyOrder(scenario).orders <= ORDERS_EACH);
    expect(small.length).toBeGreaterThan(scenarios.length * 0.8);
  });

  test('is found out where a state does not tell what an actor remembers', () => {
    const scenario = careless(function* (world) {
      yield onContainer('looks at memory');
      const frame = world.programs[0]!.mm.frameAt(VADDR);
      yield onContainer('remembers the frame');
      if (frame === 1) yield onContainer('goes on');
    });
    expect(() => explore(scenario, { merge: false, reduce: false })).toThrow(
      'another thing came of a step than was known',
    );
  });
});

describe('steps whose outcome is known', () => {
  test.each([1, 3, 6, 10])('are left out where at most %i steps are taken, too', (stepsMax) => {
    for (const scenario of scenarios.slice(0, 12)) {
      const all = explore(scenario, { stepsMax, reduce: false });
      const reduced = explore(scenario, { stepsMax });
      const counts = ({ orders, states, exhaustive, longest }: typeof all) =>
        [orders, states, exhaustive, longest] as const;
      expect([scenario.name, ...counts(reduced)]).toEqual([scenario.name, ...counts(all)]);
      expect(all.longest).toBeLessThanOrEqual(stepsMax);
    }
  });

  test.each(scenarios)('are left out of $name, and no state or order is lost', (scenario) => {
    const all = explore(scenario, { reduce: false });
    expect(all.found).toBeNull();
    const reduced = everyOrder(scenario);
    expect([reduced.orders, reduced.states]).toEqual([all.orders, all.states]);
    expect(reduced.runs).toBeLessThanOrEqual(all.runs);
  });

  test('a step that changes a side that it did not access is found', () => {
    const scenario = careless(function* (world) {
      yield onMemory('is about memory, it says');
      world.ledger.everPinned = true;
    });
    expect(() => explore(scenario, { reduce: false })).toThrow(
      'changed a side that it did not access',
    );
  });

  test('a step that reads a side that it did not access is found', () => {
    const scenario = careless(function* (world) {
      yield onContainer('is about the container, it says');
      world.notes.note(null, world.programs[0]!.mm.frameAt(VADDR));
      yield onContainer('remembers it');
    });
    expect(() => explore(scenario, { reduce: false })).toThrow(
      'another thing came of a step than was known',
    );
  });
});

describe('the bounds', () => {
  test('exploring ends at the state limit and says that it was not exhaustive', () => {
    const { exhaustive, states } = explore(scenarios[1]!, { statesMax: 50 });
    expect(exhaustive).toBe(false);
    expect(states).toBeLessThan(80);
  });

  test('random orders come from the seed alone', () => {
    const run = (seed: number, orders: number) => {
      let left = orders;
      return runRandom(scenarios[1]!, partsOf(null), seed, () => left-- === 0);
    };
    expect(run(7, 200)).toEqual({ orders: 200, seed: 7, found: null });
  });
});
