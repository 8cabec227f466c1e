/** A device brings a page in while it goes. */
import { READ, WRITE } from '../../mm/address-space.js';
import type { Scenario } from '../world/scenario.js';
import { devicesOf, eachDevice, scalable } from './scaled.js';

export const faultMigrateUnmap: Scenario = scalable(
  {
    name: 'fault-migrate-unmap',
    about: 'a device faults one page, the host takes the page, the program unmaps it',
    rows: ['R2.1', 'R3.1', 'R3.3', 'R6.1'],
  },
  { pages: 1, devices: 1 },
  ({ pages, devices }) => ({
    world: { pages, devices: devicesOf(devices) },
    setup: (world) => world.programs[0]!.map(0, pages),
    actors: {
      ...eachDevice(devices, (world, i) => world.devices[i]!.write(i % pages)),
      host: (world) => world.host.migrate(0, pages),
      program: (world) => world.programs[0]!.unmap(0, pages),
    },
  }),
);

export const faultFaultDiscard: Scenario = scalable(
  {
    name: 'two-faults-one-page',
    about:
      'two devices fault the same page while the host discards it: one page-in, an answer each',
    rows: ['R2.3', 'R3.3', 'R1.4'],
  },
  { pages: 1, devices: 2 },
  ({ devices }) => ({
    world: { devices: devicesOf(devices, { ownDomain: true }), pages: 1 },
    setup: (world) => world.programs[0]!.map(0, 1),
    actors: {
      ...eachDevice(devices, (world, i) => world.devices[i]!.access(0, i === 0 ? WRITE : READ)),
      host: (world) => world.host.discard(0),
    },
  }),
);

export const swapRemap: Scenario = {
  name: 'swap-in-remap',
  about: 'a page that is in swap is faulted while the program maps something else there',
  rows: ['R2.1', 'R3.3', 'R6.1'],
  world: { pages: 2, swapInWaits: true },
  *setup(world) {
    yield* world.programs[0]!.map(0, 1);
    yield* world.host.pageOut(0);
  },
  actors: {
    device: (world) => world.devices[0]!.access(0, READ),
    *program(world) {
      yield* world.programs[0]!.unmap(0, 1);
      yield* world.programs[0]!.map(0, 2, { to: 0, permission: READ });
    },
    host: (world) => world.host.munmap(1),
  },
};

export const faultFaultRemap: Scenario = scalable(
  {
    name: 'two-faults-remap',
    about: 'two devices fault a page while the program unmaps it and maps it again',
    rows: ['R2.3', 'R3.3'],
  },
  { pages: 1, devices: 2 },
  ({ pages, devices }) => ({
    world: { pages, devices: devicesOf(devices) },
    setup: (world) => world.programs[0]!.map(0, pages),
    actors: {
      ...eachDevice(devices, (world, i) => world.devices[i]!.fault(i % pages, READ)),
      *program(world) {
        yield* world.programs[0]!.unmap(0, pages);
        yield* world.programs[0]!.map(0, pages);
      },
    },
  }),
);
