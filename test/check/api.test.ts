import { expect, test } from 'vitest';
import {
  Domain,
  explore,
  operation,
  type Scenario,
  type Variant,
} from '../../src/check/api/index.js';

const mine: Scenario = {
  name: 'mine',
  about: 'a device writes what the host discards',
  rows: ['R3.1'],
  world: { pages: 1 },
  setup: (world) => world.programs[0]!.map(0, 1),
  actors: {
    *device(world) {
      yield operation('wakes up');
      yield* world.devices[0]!.write(0);
    },
    host: (world) => world.host.discard(0),
  },
};

class Forgetful extends Domain {
  override flush(): void {}
}
const forgetful: Variant = {
  name: 'forgetful',
  row: 'R3.1',
  about: 'IOTLBs are never flushed',
  parts: { Domain: Forgetful },
};

test('explore runs every order of a scenario', () => {
  const { violation, exhaustive, orders, states, variantCalls } = explore(mine);
  expect({ violation, exhaustive, variantCalls }).toEqual({
    violation: null,
    exhaustive: true,
    variantCalls: null,
  });
  expect(orders).toBeGreaterThan(1);
  expect(states).toBeGreaterThan(1);
});

test('explore finds what a variant breaks, by the shortest order, in words', () => {
  const { violation, variantCalls } = explore(mine, { variant: forgetful });
  expect(variantCalls).toBeGreaterThan(0);
  expect(violation!.row).toBe('R3.1');
  expect(violation!.steps).toHaveLength(violation!.order.length);
  expect(violation!.text).toContain('wakes up');
  // The design that ships is as it was.
  expect(explore(mine).violation).toBeNull();
});

test('explore tells an author what is wrong', () => {
  expect(() => explore({ ...mine, actors: {} })).toThrow(/scenario mine: actors: at least one/);
  const wrong = { ...forgetful, parts: { Domain: class {} } } as unknown as Variant;
  expect(() => explore(mine, { variant: wrong })).toThrow(/forgetful: Domain is no subclass/);
});

test('explore says where it left orders out', () => {
  const { exhaustive, violation } = explore(mine, { statesMax: 3 });
  expect({ exhaustive, violation }).toEqual({ exhaustive: false, violation: null });
});
