/**
 * A scan over notifiers and a pagemap that are made up, so that every combination of pages can be
 * tried.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { MappedWalk, MmuNotifier } from '../../../src/mm/address-space.js';
import { PresenceScan, type ScannedSpace } from '../../../src/mm/process/presence-scan.js';

const PAGES = 4000;
/** Regions that a search finds at most. */
const REGIONS = 7;

/**
 * Has translations to some pages of the space, in the order of IOVAs that may be another than that
 * of addresses.
 */
class Notifier implements MmuNotifier {
  readonly gone: number[] = [];

  constructor(
    readonly mapped: Set<number>,
    private readonly turned: boolean,
  ) {}

  invalidate(first: number, count: number, reclaimed?: boolean): void {
    expect(reclaimed).toBe(true);
    for (let page = first; page < first + count; page++)
      if (this.mapped.delete(page)) this.gone.push(page);
  }

  release(): void {}

  nextMapped(walk: MappedWalk, most: number): boolean {
    walk.count = 0;
    const pageAt = (position: number): number =>
      this.turned ? (position + PAGES / 2) % PAGES : position;
    for (let at = walk.position; at < PAGES; at++) {
      const first = pageAt(at);
      if (!this.mapped.has(first)) continue;
      let count = 1;
      while (
        count < most &&
        at + count < PAGES &&
        pageAt(at + count) === first + count &&
        this.mapped.has(first + count)
      )
        count++;
      Object.assign(walk, { first, count, position: at + count });
      return true;
    }
    walk.position = 0;
    return false;
  }
}

function spaceOf(
  notifiers: MmuNotifier[],
  absent: ReadonlySet<number>,
): ScannedSpace & { told: number } {
  const space = {
    told: 0,
    notifiers,
    suspect: false,
    pagemap: {
      first: new Float64Array(REGIONS),
      end: new Float64Array(REGIONS),
      count: 0,
      stopped: 0,
      find(_presence: number, first: number, end: number): void {
        this.count = 0;
        this.stopped = end;
        for (let page = first; page < end; page++) {
          if (!absent.has(page)) continue;
          if (this.count > 0 && this.end[this.count - 1] === page)
            this.end[this.count - 1] = page + 1;
          else if (this.count === REGIONS) {
            this.stopped = page;
            return;
          } else {
            this.first[this.count] = page;
            this.end[this.count++] = page + 1;
          }
        }
      },
    },
    reclaimed(first: number, count: number): void {
      space.told++;
      for (const notifier of notifiers) notifier.invalidate(first, count, true);
    },
  };
  return space;
}

const page = fc.integer({ min: 0, max: PAGES - 1 });
const ranges = fc
  .array(fc.tuple(page, fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 600 }))), {
    maxLength: 40,
  })
  .map(
    (all) =>
      new Set(
        all
          .flatMap(([first, count]) => [...Array(count).keys()].map((at) => first + at))
          .filter((at) => at < PAGES),
      ),
  );

test('a pass takes away exactly the mapped pages that have left memory, however it is sliced and whoever has them', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(ranges, fc.boolean()), { minLength: 1, maxLength: 3 }),
      ranges,
      fc.integer({ min: 1, max: 3000 }),
      (has, absent, slice) => {
        const notifiers = has.map(([mapped, turned]) => new Notifier(new Set(mapped), turned));
        const space = spaceOf(notifiers, absent);
        const scan = new PresenceScan();
        let steps = 1;
        while (scan.step(space, slice)) expect(++steps).toBeLessThan(20_000);
        notifiers.forEach((notifier, index) => {
          const mapped = [...has[index]![0]];
          expect([...notifier.mapped].sort((a, b) => a - b)).toEqual(
            mapped.filter((at) => !absent.has(at)).sort((a, b) => a - b),
          );
          expect(notifier.gone.length).toBe(mapped.filter((at) => absent.has(at)).length);
        });
        // Nobody is told of what no notifier has.
        expect(space.told).toBeLessThanOrEqual(
          notifiers.reduce((sum, { gone }) => sum + gone.length, 0),
        );
        // A second pass finds nothing more.
        const before = space.told;
        while (scan.step(space, slice));
        expect(space.told).toBe(before);
      },
    ),
    { numRuns: 150 },
  );
});

test('nothing is looked at while the process is in execve', () => {
  const notifier = new Notifier(new Set([1, 2, 3]), false);
  const space = { ...spaceOf([notifier], new Set([1, 2, 3])), suspect: true };
  expect(new PresenceScan().step(space, 100)).toBe(false);
  expect(notifier.mapped.size).toBe(3);
});
