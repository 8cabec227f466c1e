/** Page requests of every shape. */
import { READ, WRITE } from '../../mm/address-space.js';
import type { Scenario } from '../world/scenario.js';

export const groupRequest: Scenario = {
  name: 'request-group',
  about:
    'a page request group of three pages is answered once, while the program unmaps one of them',
  rows: ['R1.1', 'R1.4'],
  world: { pages: 3 },
  *setup(world) {
    yield* world.programs[0]!.map(0, 2);
    yield* world.programs[0]!.map(2, 1);
  },
  actors: {
    device: (world) => world.devices[0]!.faultGroup([0, 1, 2], WRITE, 300),
    program: (world) => world.programs[0]!.unmap(2, 1),
    host: (world) => world.host.discard(1),
  },
};

export const fullQueue: Scenario = {
  name: 'full-queue',
  about:
    'three accesses of a device whose queue holds one page request: what is above it is told to ask again',
  rows: ['R1.4', 'R2.3'],
  world: { pages: 2, devices: [{ pendingGroups: 1 }] },
  setup: (world) => world.programs[0]!.map(0, 2),
  actors: {
    'access 1': (world) => world.devices[0]!.write(0),
    'access 2': (world) => world.devices[0]!.read(1),
    'access 3': (world) => world.devices[0]!.read(0),
  },
};

export const unaskedLevel: Scenario = {
  name: 'unasked-level',
  about: 'a page request at a level that no one asked for is refused, and the next one is served',
  rows: ['R1.3', 'R1.4'],
  world: { pages: 1 },
  setup: (world) => world.programs[0]!.map(0, 1),
  actors: {
    *device(world) {
      yield* world.devices[0]!.report(0, READ, 'stage1', 400);
      yield* world.devices[0]!.report(0, READ, 'flat', 401);
    },
    program: (world) => world.programs[0]!.disable(),
  },
};
