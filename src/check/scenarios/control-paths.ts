/** IOPF is switched on and off, and devices come and go, while devices fault. */
import { READ, WRITE } from '../../mm/address-space.js';
import type { Scenario } from '../world/scenario.js';
import { devicesOf, eachDevice, scalable } from './scaled.js';

export const enableFault: Scenario = scalable(
  {
    name: 'enable-fault',
    about: 'the program enables IOPF while a device asks for a page that is mapped',
    rows: ['R5.1', 'R5.2', 'R5.8'],
  },
  { pages: 1, devices: 1 },
  ({ pages, devices }) => ({
    world: { enabled: false, pages, devices: devicesOf(devices) },
    setup: (world) => world.programs[0]!.map(0, pages),
    actors: {
      program: (world) => world.programs[0]!.enable(),
      ...eachDevice(devices, (world, i) => world.devices[i]!.fault(i % pages, WRITE)),
      host: (world) => world.host.discard(0, pages),
    },
  }),
);

export const enableLate: Scenario = {
  name: 'enable-late',
  about: 'IOPF is enabled on live mappings, which lose their pins while the host takes their pages',
  rows: ['R5.8', 'R5.11'],
  world: { enabled: false, pages: 2 },
  *setup(world) {
    yield* world.programs[0]!.map(0, 1);
    yield* world.programs[0]!.map(1, 1, { pinned: true });
  },
  actors: {
    *program(world) {
      yield* world.programs[0]!.enable();
      yield* world.programs[0]!.unmap(0, 1);
    },
    device: (world) => world.devices[0]!.write(0),
    host: (world) => world.host.migrate(0, 2),
  },
};

export const disableFault: Scenario = scalable(
  {
    name: 'disable-fault',
    about: 'the program disables IOPF, which drains, while two devices fault',
    rows: ['R5.2', 'R5.10'],
  },
  { pages: 1, devices: 2 },
  ({ pages, devices }) => ({
    world: { devices: devicesOf(devices), pages },
    setup: (world) => world.programs[0]!.map(0, pages),
    actors: {
      program: (world) => world.programs[0]!.disable(),
      ...eachDevice(devices, (world, i) =>
        world.devices[i]!.access(i % pages, i % 2 === 0 ? WRITE : READ),
      ),
    },
  }),
);

export const disableFails: Scenario = {
  name: 'disable-fails',
  about:
    'DISABLE may not lock so much and fails: IOPF stays on, and a device that faults meanwhile is served',
  rows: ['R5.10', 'R6.2'],
  world: { pages: 3, lockLimitPages: 2 },
  *setup(world) {
    yield* world.programs[0]!.map(0, 1);
    yield* world.programs[0]!.map(1, 2);
  },
  actors: {
    program: (world) => world.programs[0]!.disable(),
    device: (world) => world.devices[0]!.write(1),
    host: (world) => world.host.migrate(1),
  },
};

export const enableDisable: Scenario = scalable(
  {
    name: 'enable-disable',
    about: 'two threads of the program, one enables and one disables, while a device faults',
    rows: ['R5.1', 'R5.2', 'R5.10'],
  },
  { pages: 1, devices: 1 },
  ({ pages, devices }) => ({
    world: { pages, devices: devicesOf(devices) },
    setup: (world) => world.programs[0]!.map(0, pages),
    actors: {
      'thread 1': (world) => world.programs[0]!.enable(),
      'thread 2': (world) => world.programs[0]!.disable(),
      ...eachDevice(devices, (world, i) => world.devices[i]!.write(i % pages)),
    },
  }),
);

export const enableForeign: Scenario = {
  name: 'enable-foreign',
  about:
    'ENABLE meets a device that somebody else switched on: it fails, whatever order the bus lists its devices in',
  rows: ['R5.1', 'R5.3'],
  world: { devices: [{ group: 1 }, { group: 1 }], enabled: false, pages: 1 },
  *setup(world) {
    yield* world.programs[0]!.map(0, 1);
    world.takeElsewhere(world.devices[1]!);
  },
  actors: {
    program: (world) => world.programs[0]!.enable(),
    host: (world) => world.host.rescan(1),
    device: (world) => world.devices[0]!.fault(0, READ),
  },
};

export const attachFault: Scenario = {
  name: 'attach-fault',
  about: 'a group with a domain of its own joins an enabled container while both devices fault',
  rows: ['R5.2', 'R5.5', 'R7.2'],
  world: { devices: [{}, { ownDomain: true, attached: false }], pages: 2 },
  *setup(world) {
    yield* world.programs[0]!.map(0, 1);
    yield* world.programs[0]!.map(1, 1, { pinned: true });
  },
  actors: {
    program: (world) => world.programs[0]!.attach(2),
    'device 1': (world) => world.devices[0]!.write(0),
    'device 2': (world) => world.devices[1]!.fault(0, WRITE),
  },
};

export const attachFails: Scenario = {
  name: 'attach-fails',
  about:
    'a group whose second device cannot fault does not join an enabled container, and leaves nothing behind',
  rows: ['R5.3', 'R5.5'],
  world: {
    devices: [{}, { group: 2, attached: false }, { group: 2, attached: false, canFault: false }],
    pages: 1,
  },
  setup: (world) => world.programs[0]!.map(0, 1),
  actors: {
    program: (world) => world.programs[0]!.attach(2),
    'device 1': (world) => world.devices[0]!.write(0),
    'device 2': (world) => world.devices[1]!.fault(0, READ),
  },
};

export const detachFault: Scenario = scalable(
  {
    name: 'detach-fault',
    about: 'a group leaves while its device faults and the other device brings the same page in',
    rows: ['R5.2', 'R5.6'],
  },
  { pages: 1, devices: 2 },
  ({ pages, devices }) => ({
    world: { devices: devicesOf(devices, { ownDomain: true }), pages },
    setup: (world) => world.programs[0]!.map(0, pages),
    actors: {
      program: (world) => world.programs[0]!.detach(devices),
      ...eachDevice(devices, (world, i) => world.devices[i]!.write(i % pages)),
    },
  }),
);

export const closeFault: Scenario = {
  name: 'close-fault',
  about: 'the container is closed with page requests pending while the host takes the page',
  rows: ['R5.6', 'R5.11'],
  world: { devices: [{}, {}], pages: 1 },
  setup: (world) => world.programs[0]!.map(0, 1),
  actors: {
    program: (world) => world.programs[0]!.close(),
    'device 1': (world) => world.devices[0]!.write(0),
    host: (world) => world.host.munmap(0),
  },
};

export const attachTwo: Scenario = {
  name: 'attach-two',
  about:
    'two groups join at once and one of them cannot fault, while a pinned mapping goes and a device writes',
  rows: ['R5.3', 'R5.5', 'R7.2'],
  world: {
    devices: [
      {},
      { ownDomain: true, attached: false },
      { ownDomain: true, attached: false, canFault: false },
    ],
    pages: 2,
  },
  *setup(world) {
    yield* world.programs[0]!.map(0, 1);
    yield* world.programs[0]!.map(1, 1, { pinned: true });
  },
  actors: {
    'thread 1': (world) => world.programs[0]!.attach(2),
    'thread 2': (world) => world.programs[0]!.attach(3),
    'thread 3': (world) => world.programs[0]!.unmap(1, 1),
    device: (world) => world.devices[0]!.write(0),
  },
};

export const lastLeaves: Scenario = {
  name: 'last-leaves',
  about: 'the only group leaves while another joins and IOPF is switched off',
  rows: ['R5.5', 'R5.6', 'R5.10'],
  world: { devices: [{}, { ownDomain: true, attached: false }], pages: 2 },
  *setup(world) {
    yield* world.programs[0]!.map(0, 1);
    yield* world.programs[0]!.map(1, 1, { pinned: true });
  },
  actors: {
    'thread 1': (world) => world.programs[0]!.attach(2),
    'thread 2': (world) => world.programs[0]!.detach(1),
    'thread 3': (world) => world.programs[0]!.disable(),
    device: (world) => world.devices[0]!.write(0),
  },
};

export const attachOrder: Scenario = scalable(
  {
    name: 'attach-order',
    about: 'two groups join, one before the other, while IOPF goes off',
    rows: ['R5.5', 'R5.10'],
  },
  { pages: 1, devices: 2 },
  ({ devices }) => ({
    world: { devices: Array.from({ length: devices }, () => ({ attached: false })), pages: 1 },
    actors: {
      ...eachDevice(devices, (world, i) => world.programs[0]!.attach(i + 1), 'thread'),
      [`thread ${devices + 1}`]: (world) => world.programs[0]!.disable(),
    },
  }),
);
