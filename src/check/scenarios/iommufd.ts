/**
 * Devices of an iommufd: attached, replaced and detached under faults, copies of maps, fault
 * queues, logs of two page tables, objects that are destroyed.
 */
import { READ, WRITE } from '../../mm/address-space.js';
import { Invariant, violated } from '../verify/violation.js';
import type { Scenario } from '../world/scenario.js';
import type { World } from '../world/world.js';

const [SUCCESS, INVALID] = [0, 1];

/** Ids behind that of one device; behind two they begin at the second. */
const [FIRST, SECOND, THIRD, FOURTH] = [2, 3, 4, 5];

/** Two IOASes that map the same page, the first device in the first of them. */
function* twoSpaces({ iommufd }: World) {
  yield* iommufd!.ioas();
  yield* iommufd!.ioas();
  yield* iommufd!.map(FIRST, 0, 1);
  yield* iommufd!.map(SECOND, 0, 1);
  yield* iommufd!.attach(0, FIRST);
}

/** An IOAS, a fault queue, a page table with it, and the device there. */
function* queued({ iommufd }: World) {
  yield* iommufd!.ioas();
  yield* iommufd!.queue();
  yield* iommufd!.hwpt(FIRST, { queue: SECOND });
  yield* iommufd!.attach(0, THIRD);
}

export const replaceFault: Scenario = {
  name: 'replace-fault',
  about:
    'a device that faults is moved to another IOAS and detached, while the host takes its page',
  rows: ['R5.5', 'R5.6'],
  world: { iommufd: 'auto', pages: 1 },
  setup: twoSpaces,
  actors: {
    *program({ iommufd }) {
      yield* iommufd!.attach(0, SECOND);
      yield* iommufd!.detach(0);
    },
    device: (world) => world.devices[0]!.write(0),
    host: (world) => world.host.migrate(0),
  },
};

export const replacePinned: Scenario = {
  name: 'replace-pinned',
  about: 'a device that cannot wait is moved to and fro: no access of its is ever refused',
  rows: ['R7.2'],
  world: { iommufd: 'off', pages: 1, devices: [{ canFault: false }] },
  setup: twoSpaces,
  actors: {
    *program({ iommufd }) {
      yield* iommufd!.attach(0, SECOND);
      yield* iommufd!.attach(0, FIRST);
    },
    *device(world) {
      for (const access of [READ, WRITE])
        if (!(yield* world.devices[0]!.access(0, access)))
          violated(Invariant.MOVED, 'R7.2', 'an access was refused');
    },
    host: (world) => world.host.migrate(0),
  },
};

export const attachDestroy: Scenario = {
  name: 'attach-destroy',
  about:
    'two threads: one moves a faulting device, the other destroys where it goes and comes from',
  rows: ['R5.6', 'R5.11'],
  world: { iommufd: 'auto', pages: 1 },
  *setup(world) {
    yield* twoSpaces(world);
    yield* world.iommufd!.hwpt(SECOND, {});
  },
  actors: {
    *'thread 1'({ iommufd }) {
      yield* iommufd!.attach(0, FOURTH);
      yield* iommufd!.detach(0);
    },
    *'thread 2'({ iommufd }) {
      yield* iommufd!.destroy(FOURTH);
      yield* iommufd!.destroy(FIRST);
    },
    device: (world) => world.devices[0]!.write(0),
  },
};

export const copySource: Scenario = {
  name: 'copy-source',
  about: 'a copy of a map stays when its source is unmapped and its IOAS goes, and is faulted in',
  rows: ['R3.2', 'R5.11'],
  world: { iommufd: 'auto', pages: 2 },
  *setup({ iommufd }) {
    yield* iommufd!.ioas();
    yield* iommufd!.ioas();
    yield* iommufd!.map(FIRST, 0, 2);
    yield* iommufd!.copy(FIRST, SECOND, 0, 1);
    yield* iommufd!.attach(0, SECOND);
  },
  actors: {
    *program({ iommufd }) {
      yield* iommufd!.unmap(FIRST, 0, 2);
      yield* iommufd!.destroy(FIRST);
    },
    device: (world) => world.devices[0]!.write(0),
    host: (world) => world.host.migrate(0, 2),
  },
};

export const copyPinned: Scenario = {
  name: 'copy-pinned',
  about: 'two IOASes pin one map and its copy, which is charged once, and come and go',
  rows: ['R5.8', 'R5.11'],
  world: {
    iommufd: 'off',
    pages: 2,
    lockLimitPages: 2,
    devices: [{ canFault: false }, { canFault: false }],
  },
  *setup({ iommufd }) {
    yield* iommufd!.ioas();
    yield* iommufd!.ioas();
    yield* iommufd!.map(SECOND, 0, 2);
    yield* iommufd!.copy(SECOND, THIRD, 0, 2);
    yield* iommufd!.attach(0, SECOND);
  },
  actors: {
    *'thread 1'({ iommufd }) {
      yield* iommufd!.attach(1, THIRD);
      yield* iommufd!.unmap(THIRD, 0, 2);
    },
    *'thread 2'({ iommufd }) {
      yield* iommufd!.detach(0);
      yield* iommufd!.unmap(SECOND, 0, 2);
    },
    device: (world) => world.devices[1]!.write(1),
    host: (world) => world.host.discard(0),
  },
};

export const queueAnswer: Scenario = {
  name: 'queue-answer',
  about: 'a program maps what its device asks for and answers, while the device is moved away',
  rows: ['R1.4', 'R5.6'],
  world: { iommufd: 'auto', pages: 1 },
  *setup(world) {
    yield* queued(world);
    yield* world.iommufd!.ioas();
  },
  actors: {
    *'thread 1'({ iommufd }) {
      const cookie = yield* iommufd!.read(0);
      yield* iommufd!.map(FIRST, 0, 1);
      yield* iommufd!.answer(0, cookie, SUCCESS);
    },
    'thread 2': ({ iommufd }) => iommufd!.attach(0, FOURTH),
    device: (world) => world.devices[0]!.fault(0, READ),
  },
};

export const queueClosedUnread: Scenario = {
  name: 'queue-closed-unread',
  about: 'the descriptor of a fault queue is closed with a request that nobody has read',
  rows: ['R1.4', 'R5.6'],
  world: { iommufd: 'auto', pages: 1 },
  setup: queued,
  actors: {
    *program({ iommufd }) {
      yield* iommufd!.closeQueue(0);
      yield* iommufd!.detach(0);
      yield* iommufd!.destroy(THIRD);
      yield* iommufd!.destroy(SECOND);
    },
    device: (world) => world.devices[0]!.fault(0, READ),
    bus: (world) => world.devices[0]!.reset(),
  },
};

export const queueClosedRead: Scenario = {
  name: 'queue-closed-read',
  about: 'the same once it was read, and one of two requests was answered',
  rows: ['R1.4', 'R5.6'],
  world: { iommufd: 'auto', pages: 2 },
  setup: queued,
  actors: {
    *program({ iommufd }) {
      const cookie = yield* iommufd!.read(0);
      yield* iommufd!.answer(0, cookie, INVALID);
      yield* iommufd!.closeQueue(0);
      yield* iommufd!.detach(0);
    },
    device: (world) => world.devices[0]!.fault(0, READ),
    'same device': (world) => world.devices[0]!.fault(1, WRITE),
  },
};

export const twoLogs: Scenario = {
  name: 'two-logs',
  about: 'two page tables of one IOAS log apart: each has what its own device wrote',
  rows: ['R6.3'],
  world: { iommufd: 'auto', pages: 1, devices: [{}, {}] },
  *setup({ iommufd }) {
    yield* iommufd!.ioas();
    yield* iommufd!.map(SECOND, 0, 1);
    yield* iommufd!.hwpt(SECOND, { dirty: true });
    yield* iommufd!.hwpt(SECOND, { dirty: true });
    yield* iommufd!.attach(0, THIRD);
    yield* iommufd!.attach(1, FOURTH);
    yield* iommufd!.logDirty(THIRD, true);
    yield* iommufd!.logDirty(FOURTH, true);
  },
  actors: {
    *program({ iommufd }) {
      yield* iommufd!.reportDirty(THIRD);
      yield* iommufd!.reportDirty(FOURTH);
    },
    'device 1': (world) => world.devices[0]!.write(0),
    'device 2': (world) => world.devices[1]!.write(0),
  },
};
