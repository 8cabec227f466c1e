/**
 * Drivers that pin pages of the container themselves, beside faults, unmaps and groups that come
 * and go.
 */
import { READ, WRITE } from '../../mm/address-space.js';
import { IOVA } from '../world/operation.js';
import type { Scenario } from '../world/scenario.js';

export const pinUnmap: Scenario = {
  name: 'pin-unmap',
  about: 'a driver pins and unpins while the program unmaps and the host takes the pages',
  rows: ['R6.2', 'R7.1'],
  world: { pages: 2 },
  *setup(world) {
    yield* world.programs[0]!.map(0, 2);
    world.group(1).faultable = [{ first: IOVA + 1, end: IOVA + 2 }];
    world.driver(1);
  },
  actors: {
    *driver(world) {
      if ((yield* world.driver(1).pin(0, 1)) !== 'ok') return;
      yield* world.devices[0]!.write(0);
      yield* world.driver(1).unpin(0, 1);
    },
    device: (world) => world.devices[0]!.write(1),
    program: (world) => world.programs[0]!.unmap(0, 2),
    host: (world) => world.host.discard(0, 2),
  },
};

export const pinFault: Scenario = {
  name: 'pin-fault',
  about:
    'a driver pins and unpins a page that another device is faulting in, while the host moves it',
  rows: ['R6.2', 'R3.3'],
  world: { devices: [{}, {}], pages: 2, premapPages: 2 },
  *setup(world) {
    yield* world.programs[0]!.map(0, 2);
    world.driver(1);
  },
  actors: {
    *driver(world) {
      yield* world.driver(1).pin(0, 1);
      yield* world.driver(1).unpin(0, 1);
    },
    device: (world) => world.devices[1]!.write(0),
    host: (world) => world.host.migrate(0, 2),
  },
};

export const pinTwice: Scenario = {
  name: 'pin-twice',
  about: 'two drivers pin one page and unpin it, each when it likes, and the program unmaps',
  rows: ['R6.2'],
  world: { devices: [{}, {}], pages: 2 },
  *setup(world) {
    yield* world.programs[0]!.map(0, 2);
    world.driver(1);
    world.driver(2);
  },
  actors: {
    *'driver 1'(world) {
      yield* world.driver(1).pin(0, 2);
      yield* world.driver(1).unpin(0, 2);
    },
    *'driver 2'(world) {
      yield* world.driver(2).pin(1, 1, READ);
      yield* world.driver(2).unpin(1, 1);
    },
    program: (world) => world.programs[0]!.unmap(0, 2),
    host: (world) => world.host.munmap(1),
  },
};

export const pinDisable: Scenario = {
  name: 'pin-disable',
  about: 'IOPF goes off and on while a driver has pages pinned',
  rows: ['R6.2', 'R5.8', 'R5.10'],
  world: { pages: 2 },
  *setup(world) {
    yield* world.programs[0]!.map(0, 2);
    world.driver(1);
  },
  actors: {
    *driver(world) {
      yield* world.driver(1).pin(0, 1);
      yield* world.driver(1).unpin(0, 1);
    },
    *program(world) {
      yield* world.programs[0]!.disable();
      yield* world.programs[0]!.enable();
    },
    host: (world) => world.host.discard(0, 1),
  },
};

export const pinDisableFails: Scenario = {
  name: 'pin-disable-fails',
  about:
    'IOPF cannot go off because pages cannot be accounted, and the pins of a driver are as before',
  rows: ['R6.2', 'R5.10'],
  world: { pages: 3, lockLimitPages: 2 },
  *setup(world) {
    yield* world.programs[0]!.map(0, 1);
    yield* world.programs[0]!.map(1, 2);
    world.driver(1);
  },
  actors: {
    *driver(world) {
      yield* world.driver(1).pin(0, 2);
      yield* world.driver(1).unpin(0, 2);
    },
    program: (world) => world.programs[0]!.disable(),
    device: (world) => world.devices[0]!.write(1),
  },
};

export const pinAttach: Scenario = {
  name: 'pin-attach',
  about: 'a group comes with a domain of its own and leaves again while a driver pins',
  rows: ['R6.2', 'R5.5', 'R5.6', 'R7.2'],
  world: { devices: [{}, { ownDomain: true, attached: false }], pages: 2 },
  *setup(world) {
    yield* world.programs[0]!.map(0, 2);
    world.driver(1);
  },
  actors: {
    *driver(world) {
      yield* world.driver(1).pin(0, 1);
      yield* world.driver(1).unpin(0, 1);
    },
    *program(world) {
      yield* world.programs[0]!.attach(2);
      yield* world.programs[0]!.detach(2);
    },
    host: (world) => world.host.migrate(0, 2),
  },
};

export const pinClose: Scenario = {
  name: 'pin-close',
  about: 'the container is closed while its driver pins and a device faults',
  rows: ['R6.2', 'R5.11'],
  world: { pages: 2 },
  *setup(world) {
    yield* world.programs[0]!.map(0, 2);
    world.driver(1);
  },
  actors: {
    *driver(world) {
      yield* world.driver(1).pin(0, 1);
      yield* world.driver(1).pin(0, 2);
    },
    device: (world) => world.devices[0]!.fault(1, WRITE),
    program: (world) => world.programs[0]!.close(),
  },
};

export const pinDirty: Scenario = {
  name: 'pin-dirty',
  about:
    'a page that a driver has pinned is dirty in every report, others only when they were written',
  rows: ['R6.2', 'R6.3'],
  world: { pages: 2 },
  *setup(world) {
    yield* world.programs[0]!.map(0, 2);
    world.driver(1);
  },
  actors: {
    *driver(world) {
      yield* world.driver(1).pin(0, 1);
      yield* world.driver(1).unpin(0, 1);
    },
    device: (world) => world.devices[0]!.write(0),
    *program(world) {
      yield* world.programs[0]!.logDirty(true);
      yield* world.programs[0]!.reportDirty();
    },
  },
};

export const pinScope: Scenario = {
  name: 'pin-scope',
  about:
    'a group whose driver pins all that it writes leaves while the dirty log runs, without IOPF',
  rows: ['R6.2', 'R6.3'],
  world: { devices: [{}, {}], pages: 1, enabled: false },
  *setup(world) {
    world.driver(2);
    yield* world.programs[0]!.map(0, 1);
  },
  actors: {
    *driver(world) {
      yield* world.driver(2).pin(0, 1);
      yield* world.driver(2).unpin(0, 1);
    },
    *'thread 1'(world) {
      yield* world.programs[0]!.logDirty(true);
      yield* world.programs[0]!.reportDirty();
    },
    'thread 2': (world) => world.programs[0]!.detach(2),
  },
};
