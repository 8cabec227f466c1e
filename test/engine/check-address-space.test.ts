/** The suite for address spaces: the simulated one passes, each canary fails for its own reason. */
import { describe, expect, test } from 'vitest';
import {
  type AddressSpace,
  checkAddressSpace,
  type MmuNotifier,
  READ,
  type SpaceUnderTest,
  WRITE,
} from '../../src/engine/index.js';
import { SimulatedSpace } from '../../src/mm/simulated.js';
import { SimulatedMemory } from '../../src/mm/simulated-memory.js';

function underTest(space: SimulatedSpace, changed: AddressSpace = space): SpaceUnderTest {
  return {
    space: changed,
    mmap: (first, count, access) => space.mmap(first, count, { kind: 'anon', protection: access }),
    munmap: (first, count) => space.munmap(first, count),
    protect: (first, count, access) => void space.mprotect(first, count, access),
    discard: (first, count) => void space.dontNeed(first, count),
    exit: () => space.exit(),
  };
}

const simulated = (options = {}): SimulatedSpace =>
  new SimulatedSpace(new SimulatedMemory(), options);

describe('an address space of iopf keeps to what the engine asks:', () => {
  test.each([1, 2, 3])('simulated memory, seed %i', (seed) => {
    checkAddressSpace(() => underTest(simulated()), { seed });
    checkAddressSpace(() => underTest(simulated({ swapInWaits: true, pinUnshares: true })), {
      seed,
    });
  });
});

/** The simulated space with something of it, or of what its host does, in place of its own. */
function canary(
  change: (space: SimulatedSpace, host: SpaceUnderTest) => Partial<SpaceUnderTest> | undefined,
): () => SpaceUnderTest {
  return () => {
    const space = simulated();
    const host = underTest(space);
    return { ...host, ...change(space, host) };
  };
}

/** Puts methods in place of the space's own. */
const put = (space: SimulatedSpace, methods: Partial<AddressSpace>): undefined => {
  for (const [name, value] of Object.entries(methods))
    Object.defineProperty(space, name, { value, configurable: true });
};

/** Wraps each notifier that subscribes. */
function heard(space: SimulatedSpace, change: (notifier: MmuNotifier) => MmuNotifier): undefined {
  const { subscribe } = space;
  return put(space, { subscribe: (notifier) => subscribe.call(space, change(notifier)) });
}

const isOn = (space: SimulatedSpace, page: number) => space.protectionAt(page) !== 0;

describe('a canary fails for its reason:', () => {
  const canaries: readonly [string, () => SpaceUnderTest, RegExp][] = [
    [
      'an id that is none',
      canary((space) => put(space, { id: 5000 })),
      /^ {2}numbers: its id is 5000, not 0 to 4095$/m,
    ],
    [
      'a hole reads as zeros',
      canary((space) => put(space, { copyFrom: (_, into) => into.fill(0).length >= 0 })),
      /^ {2}copies: what is read is not what was written$/m,
    ],
    [
      'a write of a page that may be read alone is silently dropped',
      canary((space) => {
        const { copyTo } = space;
        return put(space, {
          copyTo: (address, from) =>
            copyTo.call(space, address, from) || isOn(space, Math.floor(address / 4096)),
        });
      }),
      /^ {2}copies: a page that may be read alone is written$/m,
    ],
    [
      'a page-in goes over what is not mapped',
      canary((space) => {
        const { pageIn } = space;
        return put(space, {
          pageIn: (first, count, access, frames) =>
            pageIn.call(space, first, count, access, frames) > 0 ? count : 0,
        });
      }),
      /^ {2}page-in: pageIn brings in 4 pages where the third of them may not be written$/m,
    ],
    [
      'a page-in to write forgets what for',
      canary((space) => {
        const { pageIn } = space;
        return put(space, {
          pageIn: (first, count, _access, frames) => pageIn.call(space, first, count, READ, frames),
        });
      }),
      /^ {2}page-in: two pages that may be written have one frame$/m,
    ],
    [
      'a page-in waits and nobody can',
      canary((space) => put(space, { pageIn: () => -1, pageInFlow: undefined as never })),
      /^ {2}page-in: pageIn answers -1, and there is no pageInFlow$/m,
    ],
    [
      'frames move and nobody is told',
      canary((space) => {
        const frames = new Map<number, number>();
        const { pageIn } = space;
        return put(space, {
          pageIn(first, count, access, into) {
            const got = pageIn.call(space, first, count, access, into);
            for (let index = 0; index < got; index++) {
              const times = (frames.get(first + index) ?? 0) + 1;
              frames.set(first + index, times);
              into[index] = into[index]! * 1000 + times;
            }
            return got;
          },
        });
      }),
      /^ {2}frames: a page has another frame, and nobody was told$/m,
    ],
    [
      'a copy on write is not told',
      canary((space) => {
        return heard(space, (notifier) => ({
          release: () => notifier.release(),
          invalidate: (first, count) => {
            if (count > 1) notifier.invalidate(first, count);
          },
        }));
      }),
      /^ {2}frames: a write of the program puts another frame behind a page, and nobody was told$/m,
    ],
    [
      'munmap is not told',
      canary((space) => {
        let silent = false;
        heard(space, (notifier) => ({
          release: () => notifier.release(),
          invalidate: (first, count) => {
            if (!silent) notifier.invalidate(first, count);
          },
        }));
        return {
          munmap(first, count) {
            silent = true;
            space.munmap(first, count);
            silent = false;
          },
        };
      }),
      /^ {2}munmap: munmap takes pages away, and nobody was told$/m,
    ],
    [
      'discard is told of its first page alone',
      canary((space) => {
        return heard(space, (notifier) => ({
          release: () => notifier.release(),
          invalidate: (first) => notifier.invalidate(first, 1),
        }));
      }),
      /^ {2}discard: discard takes pages away, and nobody was told$/m,
    ],
    [
      'those who have a page are told when it is gone',
      canary((space) => {
        const late: (() => void)[] = [];
        let isLate = false;
        heard(space, (notifier) => ({
          release: () => notifier.release(),
          invalidate(first, count) {
            if (isLate) late.push(() => notifier.invalidate(first, count));
            else notifier.invalidate(first, count);
          },
        }));
        return {
          discard(first, count) {
            isLate = true;
            space.dontNeed(first, count);
            isLate = false;
            for (const tell of late.splice(0)) tell();
          },
        };
      }),
      /^ {2}discard: discard: the page is gone before those are told who have it$/m,
    ],
    [
      'invalidations are not counted',
      canary((space) => put(space, { invalidations: 0 })),
      /^ {2}munmap: munmap: invalidations has not moved when told$/m,
    ],
    [
      'discard does nothing',
      canary(() => ({ discard: () => undefined })),
      /^ {2}discard: discard takes pages away, and nobody was told$/m,
    ],
    [
      'mprotect is lost',
      canary((space) => ({
        protect: (first, count) => void space.mprotect(first, count, READ | WRITE),
      })),
      /^ {2}mprotect: mprotect: a page is still brought in to write$/m,
    ],
    [
      'a subscription never ends',
      canary((space) => {
        const { subscribe } = space;
        return put(space, {
          subscribe(notifier) {
            subscribe.call(space, notifier);
            return () => undefined;
          },
        });
      }),
      /^ {2}subscriptions: a notifier is told after its subscription has ended$/m,
    ],
    [
      'the end is told to nobody',
      canary(
        (space) =>
          heard(space, (notifier) => ({
            ...notifier,
            invalidate: (...range) => notifier.invalidate(...range),
            release: () => undefined,
          })) as undefined,
      ),
      /^ {2}exit: exit tells a notifier 0 times that the space ends$/m,
    ],
    [
      'a pin is not counted',
      canary((space) => put(space, { pinsAt: () => 0 })),
      /^ {2}pins: a page that is pinned has no pins$/m,
    ],
    [
      'a pin of what is not mapped is no error',
      canary((space) => {
        const { pin } = space;
        return put(space, { pin: (...given) => Math.max(0, pin.apply(space, given)) });
      }),
      /^ {2}pins: a page that may be read alone is pinned to write$/m,
    ],
    [
      'the account forgets',
      canary((space) => put(space, { accountLocked: () => undefined })),
      /^ {2}account: accountLocked\(3\) does not add 3 pages to lockedPages$/m,
    ],
    [
      'a write is lost now and then',
      canary((space) => {
        const { copyTo } = space;
        let writes = 0;
        return put(space, {
          copyTo: (address, from) =>
            ++writes % 40 === 0
              ? isOn(space, Math.floor(address / 4096))
              : copyTo.call(space, address, from),
        });
      }),
      /^ {2}random program: step \d+: /m,
    ],
  ];

  test.each(canaries)('%s', (_, make, reason) => {
    expect(() => checkAddressSpace(make)).toThrow(reason);
  });
});
