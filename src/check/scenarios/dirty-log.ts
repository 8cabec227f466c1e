/** Which pages were written. */
import type { Scenario } from '../scenario.js';

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
  about: 'the dirty log is read twice and stopped while a device writes two pages and the host takes one',
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
