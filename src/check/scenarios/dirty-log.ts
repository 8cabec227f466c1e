/** Which pages were written. */
import type { Scenario } from '../world/scenario.js';

export const dirtyStart: Scenario = {
  name: 'dirty-start',
  about: 'the dirty log starts and is read while a device writes and another reads',
  rows: ['R6.3'],
  world: { devices: [{}, {}], pages: 2 },
  setup: (world) => world.programs[0]!.map(0, 2),
  actors: {
    *program(world) {
      yield* world.programs[0]!.logDirty(true);
      yield* world.programs[0]!.reportDirty();
    },
    writer: (world) => world.devices[0]!.write(0),
    reader: (world) => world.devices[1]!.read(0),
  },
};

export const dirtyReport: Scenario = {
  name: 'dirty-report',
  about:
    'the dirty log is read twice and stopped while a device writes two pages and the host takes one',
  rows: ['R6.3', 'R3.3'],
  world: { pages: 2 },
  *setup(world) {
    yield* world.programs[0]!.map(0, 2);
    yield* world.programs[0]!.logDirty(true);
  },
  actors: {
    *program(world) {
      yield* world.programs[0]!.reportDirty();
      yield* world.programs[0]!.reportDirty();
      yield* world.programs[0]!.logDirty(false);
    },
    *device(world) {
      yield* world.devices[0]!.write(0);
      yield* world.devices[0]!.write(1);
    },
    host: (world) => world.host.discard(0),
  },
};

export const dirtyDisable: Scenario = {
  name: 'dirty-disable',
  about:
    'IOPF goes off and on while the dirty log is read, a device writes and the host takes the page',
  rows: ['R6.3', 'R5.8', 'R5.10'],
  world: { pages: 2 },
  *setup(world) {
    yield* world.programs[0]!.map(0, 2);
    yield* world.programs[0]!.logDirty(true);
  },
  actors: {
    *program(world) {
      yield* world.programs[0]!.disable();
      yield* world.programs[0]!.reportDirty();
      yield* world.programs[0]!.enable();
      yield* world.programs[0]!.reportDirty();
    },
    device: (world) => world.devices[0]!.write(0),
    host: (world) => world.host.migrate(0),
  },
};

export const dirtySwap: Scenario = {
  name: 'dirty-swap',
  about:
    'the dirty log starts, is read and stops while devices bring neighbours in from swap and the host discards one',
  rows: ['R6.3', 'R4.1', 'R3.3'],
  world: { pages: 3, premapPages: 3, swapInWaits: true },
  *setup(world) {
    yield* world.programs[0]!.map(0, 3);
    yield* world.host.pageOut(1, 2);
  },
  actors: {
    *program(world) {
      yield* world.programs[0]!.logDirty(true);
      yield* world.programs[0]!.reportDirty();
      yield* world.programs[0]!.logDirty(false);
    },
    writer: (world) => world.devices[0]!.write(0),
    reader: (world) => world.devices[0]!.read(1),
    host: (world) => world.host.discard(2),
  },
};
