/** Devices that are reset or gone, can wait only here and there, or have a guest above them. */
import { READ, WRITE } from '../../mm/address-space.js';
import { IOVA } from '../world/operation.js';
import type { Scenario } from '../world/scenario.js';

export const resetFault: Scenario = {
  name: 'reset-fault',
  about: 'a device is reset with a page request pending and uses its group id again',
  rows: ['R1.4', 'R5.6'],
  world: { pages: 2 },
  setup: (world) => world.programs[0]!.map(0, 2),
  actors: {
    device: (world) => world.devices[0]!.report(0, WRITE, 'flat', 300),
    *reset(world) {
      yield* world.devices[0]!.reset();
      yield* world.devices[0]!.report(1, READ, 'flat', 300);
    },
    host: (world) => world.host.migrate(0),
  },
};

export const resetDetach: Scenario = {
  name: 'reset-detach',
  about: 'a device disappears with partial and whole requests pending while its group leaves',
  rows: ['R1.4', 'R5.6'],
  world: { pages: 2 },
  setup: (world) => world.programs[0]!.map(0, 2),
  actors: {
    device: (world) => world.devices[0]!.faultGroup([0, 1], WRITE, 300),
    bus: (world) => world.devices[0]!.reset(),
    program: (world) => world.programs[0]!.detach(1),
  },
};

export const selective: Scenario = {
  name: 'selective',
  about:
    'a device that can wait only at its first page is refused at the second, while another device faults there',
  rows: ['R7.1', 'R7.2'],
  world: { devices: [{}, {}], pages: 2 },
  *setup(world) {
    yield* world.programs[0]!.map(0, 2);
    world.group(1).faultable = [{ first: IOVA, end: IOVA + 1 }];
  },
  actors: {
    *'device 1'(world) {
      yield* world.devices[0]!.write(0);
      yield* world.devices[0]!.fault(1, READ);
    },
    'device 2': (world) => world.devices[1]!.write(1),
    host: (world) => world.host.discard(0, 2),
  },
};

export const nestedGuest: Scenario = {
  name: 'nested-guest',
  about:
    'a guest answers the faults of its own stage while the container answers those of the second',
  rows: ['R8.1', 'R1.2'],
  world: { devices: [{ nested: true }], pages: 1 },
  *setup(world) {
    yield* world.programs[0]!.map(0, 1);
    yield* world.guest(0).open();
  },
  actors: {
    *device(world) {
      const errno = yield* world.devices[0]!.report(7, READ, 'stage1', 300);
      if (errno === 0) yield* world.devices[0]!.write(0);
    },
    guest: (world) => world.guest(0).answer(0),
    program: (world) => world.programs[0]!.detach(1),
    host: (world) => world.host.migrate(0),
  },
};

export const nestedReset: Scenario = {
  name: 'nested-reset',
  about:
    'a device is reset while a guest holds its page request, and the late answer finds nothing',
  rows: ['R8.1', 'R1.4'],
  world: { devices: [{ nested: true }], pages: 1 },
  *setup(world) {
    yield* world.programs[0]!.map(0, 1);
    yield* world.guest(0).open();
  },
  actors: {
    device: (world) => world.devices[0]!.report(7, READ, 'stage1', 300),
    guest: (world) => world.guest(0).answer(1),
    *bus(world) {
      yield* world.devices[0]!.reset();
      yield* world.programs[0]!.disable();
    },
  },
};

export const nestedTwice: Scenario = {
  name: 'nested-twice',
  about:
    'two requests of one name, two threads of the guest that read and answer, and the group leaves',
  rows: ['R8.1', 'R1.4'],
  world: { devices: [{ nested: true }], pages: 1 },
  setup: (world) => world.guest(0).open(),
  actors: {
    *device(world) {
      yield* world.devices[0]!.report(0, READ, 'stage1', 300);
      yield* world.devices[0]!.report(0, READ, 'stage1', 300);
    },
    'guest 1': (world) => world.guest(0).answer(0),
    'guest 2': (world) => world.guest(0).answer(0),
    program: (world) => world.programs[0]!.detach(1),
  },
};
