/** Page requests of every shape. */
import { READ, WRITE } from '../../mm/address-space.js';
import type { Scenario } from '../world/scenario.js';
import { devicesOf, eachDevice, scalable } from './scaled.js';

export const groupRequest: Scenario = scalable(
  {
    name: 'request-group',
    about:
      'a page request group of three pages is answered once, while the program unmaps one of them',
    rows: ['R1.1', 'R1.4'],
  },
  { pages: 3, devices: 1 },
  ({ pages, devices }) => ({
    world: { pages, devices: devicesOf(devices) },
    *setup(world) {
      yield* world.programs[0]!.map(0, pages - 1);
      yield* world.programs[0]!.map(pages - 1, 1);
    },
    actors: {
      ...eachDevice(devices, (world, i) =>
        world.devices[i]!.faultGroup(
          Array.from({ length: pages }, (_, page) => page),
          WRITE,
          300,
        ),
      ),
      program: (world) => world.programs[0]!.unmap(pages - 1, 1),
      host: (world) => world.host.discard(1, pages - 2),
    },
  }),
);

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
