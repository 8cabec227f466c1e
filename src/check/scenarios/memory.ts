/** Memory that changes in every way that VFIO meets. */
import { READ, WRITE } from '../../mm/address-space.js';
import type { Scenario } from '../world/scenario.js';
import { devicesOf, eachDevice, scalable } from './scaled.js';

export const protectFault: Scenario = {
  name: 'protect-fault',
  about: 'a device writes a page while the program takes its write permission',
  rows: ['R2.1', 'R3.1', 'R3.3'],
  world: { pages: 1 },
  setup: (world) => world.programs[0]!.map(0, 1),
  actors: {
    writer: (world) => world.devices[0]!.write(0),
    reader: (world) => world.devices[0]!.read(0),
    host: (world) => world.host.protect(0, 1, READ),
  },
};

export const forkWrite: Scenario = scalable(
  {
    name: 'fork-write',
    about:
      'the program forks and writes, which gives it other frames, while a device reads and writes',
    rows: ['R3.1', 'R3.3'],
  },
  { pages: 1, devices: 1 },
  ({ pages, devices }) => ({
    world: { pages, devices: devicesOf(devices) },
    setup: (world) => world.programs[0]!.map(0, pages),
    actors: {
      ...eachDevice(devices, (world, i) => world.devices[i]!.write(i % pages)),
      host: (world) => world.host.fork(),
      program: (world) => world.programs[0]!.touch(0, pages),
    },
  }),
);

export const premapDiscard: Scenario = scalable(
  {
    name: 'premap-discard',
    about:
      'a fault brings its neighbours in while the host discards one of them and another device maps one',
    rows: ['R4.1', 'R3.3', 'R2.3'],
  },
  { pages: 3, devices: 2 },
  ({ pages, devices }) => ({
    world: { devices: devicesOf(devices), pages, premapPages: pages + 1 },
    setup: (world) => world.programs[0]!.map(0, pages),
    actors: {
      ...eachDevice(devices, (world, i) =>
        i === 0 ? world.devices[i]!.write(0) : world.devices[i]!.read(pages - 1),
      ),
      host: (world) => world.host.discard(1, pages - 2),
    },
  }),
);

/** Two megabytes at an IOVA and in memory that begin on a superpage. */
const HUGE = { pages: 512, premapPages: 512, hugePages: true } as const;

export const superpage: Scenario = {
  name: 'superpage',
  about: 'an IOMMU that merges pages removes a whole superpage where one page was asked for',
  rows: ['R3.2', 'R4.2'],
  world: { ...HUGE, devices: [{ merges: true }] },
  *setup(world) {
    yield* world.programs[0]!.map(0, 512);
    yield* world.devices[0]!.write(0);
  },
  actors: {
    host: (world) => world.host.discard(7),
    device: (world) => world.devices[0]!.write(9),
  },
};

export const superpageDomains: Scenario = {
  name: 'superpage-domains',
  about: 'one of two IOMMUs removes a whole superpage, and the other domain and the bitmap follow',
  rows: ['R3.2', 'R4.2'],
  world: { ...HUGE, devices: [{ merges: true }, { ownDomain: true }] },
  *setup(world) {
    yield* world.programs[0]!.map(0, 512);
    yield* world.devices[0]!.write(0);
  },
  actors: {
    host: (world) => world.host.discard(7),
    'device 2': (world) => world.devices[1]!.write(9),
  },
};

export const pinnedMigrate: Scenario = {
  name: 'pinned-migrate',
  about:
    'a mapping that is pinned by its flag is made and unmade while the host migrates and a device writes',
  rows: ['R7.2', 'R6.2'],
  world: { pages: 2 },
  setup: (world) => world.programs[0]!.map(1, 1),
  actors: {
    *program(world) {
      yield* world.programs[0]!.map(0, 1, { pinned: true });
      yield* world.programs[0]!.unmap(0, 2);
    },
    device: (world) => world.devices[0]!.write(0),
    host: (world) => world.host.migrate(0, 2),
  },
};

export const pinFails: Scenario = {
  name: 'pin-fails',
  about: 'a pinned mapping above the limit fails with ENOMEM beside one that a device faults in',
  rows: ['R6.2', 'R7.2'],
  world: { pages: 3, lockLimitPages: 1 },
  setup: (world) => world.programs[0]!.map(0, 1),
  actors: {
    *program(world) {
      yield* world.programs[0]!.map(1, 2, { pinned: true });
      yield* world.programs[0]!.map(1, 1, { pinned: true });
    },
    device: (world) => world.devices[0]!.write(0),
    host: (world) => world.host.discard(1),
  },
};

export const twoProcesses: Scenario = {
  name: 'two-processes',
  about:
    'mappings of two processes in one container: one process unmaps while a device reaches both',
  rows: ['R5.7', 'R3.1'],
  world: { pages: 2, processes: 2 },
  *setup(world) {
    yield* world.programs[0]!.map(0, 1);
    yield* world.programs[1]!.map(1, 1);
  },
  actors: {
    'process 2': (world) => world.programs[1]!.unmap(1, 1),
    *device(world) {
      yield* world.devices[0]!.write(1);
      yield* world.devices[0]!.write(0);
    },
    host: (world) => world.host.migrate(0),
  },
};

export const aliases: Scenario = {
  name: 'aliases',
  about: 'one page at two IOVAs, one of them read-only, goes at both',
  rows: ['R3.1', 'R2.1'],
  world: { pages: 2 },
  *setup(world) {
    yield* world.programs[0]!.map(0, 1);
    yield* world.programs[0]!.map(1, 1, { to: 0, permission: READ });
  },
  actors: {
    writer: (world) => world.devices[0]!.access(0, WRITE),
    reader: (world) => world.devices[0]!.access(1, READ),
    host: (world) => world.host.migrate(0),
  },
};

export const thrash: Scenario = scalable(
  {
    name: 'memory-thrash',
    about:
      'two devices bring pages in for which there is no room, and take each other frames away; both get done',
    rows: ['R3.3', 'R2.3'],
  },
  { pages: 3, devices: 2 },
  ({ pages, devices }) => ({
    world: { devices: devicesOf(devices), pages, frames: devices },
    setup: (world) => world.programs[0]!.map(0, pages),
    actors: eachDevice(devices, (world, i) => world.devices[i]!.fault(i % pages, WRITE)),
  }),
);

export const pressure: Scenario = {
  name: 'memory-pressure',
  about:
    'there are two frames for three pages, so that a page-in and the program take each other pages away',
  rows: ['R3.1', 'R3.3', 'R4.1'],
  world: { pages: 3, frames: 2, premapPages: 2 },
  setup: (world) => world.programs[0]!.map(0, 3),
  actors: {
    device: (world) => world.devices[0]!.write(0),
    *program(world) {
      yield* world.programs[0]!.touch(2);
      yield* world.programs[0]!.touch(1);
    },
  },
};

export const twoTakers: Scenario = scalable(
  {
    name: 'two-takers',
    about: 'the host migrates and discards a page at the same time, while a device writes it',
    rows: ['R3.1', 'R3.3'],
  },
  { pages: 1, devices: 1 },
  ({ pages, devices }) => ({
    world: { pages, devices: devicesOf(devices) },
    setup: (world) => world.programs[0]!.map(0, pages),
    actors: {
      ...eachDevice(devices, (world, i) => world.devices[i]!.write(i % pages)),
      'host 1': (world) => world.host.discard(0, pages),
      'host 2': (world) => world.host.migrate(0, pages),
    },
  }),
);
