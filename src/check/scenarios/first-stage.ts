/**
 * Devices behind a first stage that the program owns: its table, its fault queue, and how they come
 * and go.
 */
import { READ, WRITE } from '../../mm/address-space.js';
import type { Scenario } from '../world/scenario.js';
import type { World } from '../world/world.js';

const nested = { devices: [{ nested: true }], pages: 3 };

function* attached(world: World) {
  yield* world.programs[0]!.map(0, 3);
  yield* world.firstStage(0).attach();
}

export const stage1Fault: Scenario = {
  name: 'stage1-fault',
  about:
    'a device faults at both stages: the guest mends its table and answers, while the host moves table and data',
  rows: ['R8.1', 'R3.3'],
  world: nested,
  setup: attached,
  actors: {
    device: (world) => world.firstStage(0).access(2, WRITE),
    *guest(world) {
      yield* world.firstStage(0).mend();
      const cookie = yield* world.guest(0).read();
      if (cookie !== 0) yield* world.guest(0).respond(cookie, 0);
      else yield* world.firstStage(0).closeQueue();
    },
    host: (world) => world.host.migrate(1, 2),
  },
};

export const stage1Revoke: Scenario = {
  name: 'stage1-revoke',
  about:
    'the guest takes an entry away and invalidates it while two accesses go through it and the program unmaps',
  rows: ['R8.1'],
  world: nested,
  *setup(world) {
    yield* attached(world);
    yield* world.firstStage(0).mend();
    yield* world.firstStage(0).closeQueue();
  },
  actors: {
    reader: (world) => world.firstStage(0).access(2, READ),
    guest: (world) => world.firstStage(0).revoke(),
    host: (world) => world.host.discard(2),
    program: (world) => world.programs[0]!.unmap(0, 3),
  },
};

export const stage1Detach: Scenario = {
  name: 'stage1-detach',
  about: 'a first stage is detached while the guest answers and the device is reset',
  rows: ['R8.1', 'R1.4'],
  world: nested,
  setup: attached,
  actors: {
    device: (world) => world.firstStage(0).access(2, READ),
    guest: (world) => world.guest(0).answer(1),
    program: (world) => world.firstStage(0).detach(),
    bus: (world) => world.devices[0]!.reset(),
  },
};

export const stage1Again: Scenario = {
  name: 'stage1-again',
  about: 'a first stage is detached and attached again while the device faults there',
  rows: ['R8.1', 'R1.2'],
  world: nested,
  setup: attached,
  actors: {
    device: (world) => world.firstStage(0).access(2, READ),
    *program(world) {
      yield* world.firstStage(0).detach();
      yield* world.firstStage(0).attach();
    },
    *guest(world) {
      yield* world.guest(0).read();
      yield* world.firstStage(0).closeQueue();
    },
  },
};

export const stage1Leaves: Scenario = {
  name: 'stage1-leaves',
  about:
    'the group leaves with its first stage, and one whose queue is closed, while a request waits',
  rows: ['R8.1', 'R5.6'],
  world: nested,
  setup: attached,
  actors: {
    device: (world) => world.firstStage(0).access(2, WRITE),
    guest: (world) => world.firstStage(0).closeQueue(),
    program: (world) => world.programs[0]!.detach(1),
  },
};

export const stage1Disable: Scenario = {
  name: 'stage1-disable',
  about: 'IOPF goes off while the guest has a request that it has not answered',
  rows: ['R8.1', 'R5.10'],
  world: nested,
  setup: attached,
  actors: {
    device: (world) => world.firstStage(0).access(2, READ),
    guest: (world) => world.guest(0).answer(0),
    program: (world) => world.programs[0]!.disable(),
  },
};

export const stage1Swap: Scenario = {
  name: 'stage1-swap',
  about: "the guest's table goes to swap, before or after the guest has mended it",
  rows: ['R8.1', 'R3.1'],
  world: nested,
  setup: attached,
  actors: {
    device: (world) => world.firstStage(0).access(2, READ),
    guest: (world) => world.firstStage(0).mend(),
    host: (world) => world.host.pageOut(1),
    program: (world) => world.firstStage(0).closeQueue(),
  },
};
