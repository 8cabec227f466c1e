/**
 * What a container does when somebody finds that pages have left memory without a call of the
 * program.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { runDirect } from '../../../src/flow/direct.js';
import type { IommuDevice } from '../../../src/iommu/device.js';
import type { Observer } from '../../../src/iommu/observer.js';
import { type MappedWalk, type MmuNotifier, READ } from '../../../src/mm/address-space.js';
import { SimulatedSpace } from '../../../src/mm/simulated.js';
import { RW, TestContainer } from './container.js';

const V = 0x10000;
const AREA = 3000;

/** A container with one device, and the notifier that it has on its program's memory. */
function watched(observer?: Observer) {
  const container = new TestContainer(observer === undefined ? {} : { observer });
  const notifiers: MmuNotifier[] = [];
  const { mm } = container;
  const subscribe = mm.subscribe.bind(mm);
  mm.subscribe = (notifier) => {
    notifiers.push(notifier);
    return subscribe(notifier);
  };
  mm.mmap(V, AREA, { kind: 'anon', protection: RW });
  const device = container.attach();
  runDirect(container.iopf.enable());
  return { container, device, notifiers };
}

/** All pages that a walk finds, by runs of at most `most`. */
function walkOver(notifier: MmuNotifier, most: number): number[] {
  const pages: number[] = [];
  const walk: MappedWalk = { position: 0, first: 0, count: 0 };
  while (notifier.nextMapped!(walk, most)) {
    expect(walk.count).toBeLessThanOrEqual(most);
    for (let page = walk.first; page < walk.first + walk.count; page++) pages.push(page);
  }
  expect(walk.position).toBe(0);
  return pages;
}

test('a walk finds each page that is in I/O page tables, mapping by mapping, and no other', () => {
  const pages = fc.array(fc.integer({ min: 0, max: 999 }), { maxLength: 60 });
  fc.assert(
    fc.property(pages, pages, fc.integer({ min: 1, max: 40 }), (low, high, most) => {
      const { container, device, notifiers } = watched();
      // Many small mappings with nothing in them lie between; the second large one shows the same
      // memory.
      container.map(0, 1000, V);
      for (let at = 0; at < 600; at++) container.map(2000 + 2 * at, 1, V + 1000 + at);
      container.map(10_000, 1000, V);
      container.map(20_000, 100, V + 2000, READ, { pinned: true });
      for (const page of low) device.fault(page, READ);
      for (const page of high) device.fault(10_000 + page, READ);
      const sorted = (all: number[]): number[] =>
        [...new Set(all)].sort((a, b) => a - b).map((page) => V + page);
      expect(notifiers).toHaveLength(1);
      expect(walkOver(notifiers[0]!, most)).toEqual([...sorted(low), ...sorted(high)]);
    }),
    { numRuns: 40 },
  );
});

test('pages that the host took leave every translation, and are counted apart', () => {
  const { container, device, notifiers } = watched();
  container.map(0, 8, V);
  container.map(100, 8, V);
  const { counters } = container;
  for (const page of [0, 1, 2, 101]) device.fault(page, READ);
  expect(device.translate(1, READ)).toBeGreaterThanOrEqual(0);
  notifiers[0]!.invalidate(V + 1, 1, true);
  expect([0, 1, 2, 101].map((page) => container.domains[0]!.frameAt(page) >= 0)).toEqual([
    true,
    false,
    true,
    false,
  ]);
  expect(device.iotlb.lookup(1, READ)).toBe(-1);
  expect(counters).toMatchObject({
    invalidations: 1,
    pagesInvalidated: 2,
    pagesReclaimed: 2,
    residentPages: 2,
  });
  // Nothing is there any more: no event.
  notifiers[0]!.invalidate(V + 1, 1, true);
  expect(counters).toMatchObject({ invalidations: 1, pagesReclaimed: 2 });
  // What the program does itself is no reclaim.
  notifiers[0]!.invalidate(V, 1);
  expect(counters).toMatchObject({ invalidations: 2, pagesInvalidated: 3, pagesReclaimed: 2 });
  // The next access faults it in again.
  const { faults } = counters;
  expect(device.fault(1, READ)).toBe(true);
  expect(counters.faults).toBe(faults + 1);
  expect(walkOver(notifiers[0]!, 100)).toEqual([V + 1, V + 2]);
});

test('an observer hears of all that a program takes, and of reclaim only where it took a page', () => {
  const heard: number[][] = [];
  const observer = {
    invalidate: (_id: number, first: number, count: number, removed: number, reclaimed: boolean) =>
      heard.push([first - V, count, removed, Number(reclaimed)]),
    pageLost: (_device: IommuDevice, page: number) => heard.push([page]),
    spaceEnded: (id: number) => heard.push([id, -1]),
  } as unknown as Observer;
  const { container, device, notifiers } = watched(observer);
  container.map(0, 8, V);
  for (const page of [0, 1, 2]) device.fault(page, READ);
  notifiers[0]!.invalidate(V + 1, 1, true);
  notifiers[0]!.invalidate(V + 1, 1, true);
  notifiers[0]!.invalidate(V + 1, 1);
  // Where no mapping is, it is no business of the device's.
  notifiers[0]!.invalidate(V + 8, 1);
  notifiers[0]!.invalidate(V, 2);
  device.pageLost(2);
  container.mm.exit();
  expect(heard).toEqual([[1, 1, 1, 1], [1, 1, 0, 0], [0, 2, 1, 0], [2], [container.mm.id, -1]]);
});

test('a walk finds the pages of its own process, and no other one’s', () => {
  const { container, device, notifiers } = watched();
  const other = new SimulatedSpace(container.memory);
  other.mmap(V, AREA, { kind: 'anon', protection: RW });
  container.map(0, 8, V);
  container.map(100, 8, V + 100, RW, { mm: other });
  for (const page of [2, 103]) device.fault(page, READ);
  expect(walkOver(notifiers[0]!, 100)).toEqual([V + 2]);
});

test('a walk goes on behind a mapping that went on the way', () => {
  const { container, device, notifiers } = watched();
  const first = container.map(0, 16, V);
  container.map(100, 16, V + 100);
  for (const page of [0, 5, 10, 103]) device.fault(page, READ);
  const walk: MappedWalk = { position: 0, first: 0, count: 0 };
  expect(notifiers[0]!.nextMapped!(walk, 4)).toBe(true);
  expect(walk).toMatchObject({ first: V, count: 1 });
  container.unmap(first);
  expect(notifiers[0]!.nextMapped!(walk, 4)).toBe(true);
  expect(walk).toMatchObject({ first: V + 103, count: 1 });
  expect(notifiers[0]!.nextMapped!(walk, 4)).toBe(false);
});

test('a walk that begins anew finds a mapping that took the place of the last one it met', () => {
  const { container, device, notifiers } = watched();
  const first = container.map(0, 16, V);
  device.fault(3, READ);
  expect(walkOver(notifiers[0]!, 4)).toEqual([V + 3]);
  container.unmap(first);
  container.map(0, 16, V + 100);
  device.fault(5, READ);
  expect(walkOver(notifiers[0]!, 4)).toEqual([V + 105]);
});

test('a walk ends, however many mappings have nothing mapped and however long they are', () => {
  const { container, device, notifiers } = watched();
  for (let at = 0; at < 1000; at++) container.map(10_000 * at, at % 16 === 15 ? AREA : 1, V);
  container.map(10_000_000, 1, V + 7);
  for (let at = 1; at < 4; at++) container.map(10_000_000 + 10_000 * at, AREA, V);
  device.fault(10_000_000, READ);
  const walk: MappedWalk = { position: 0, first: 0, count: 0 };
  const found: number[] = [];
  let steps = 0;
  let last = 0;
  while (notifiers[0]!.nextMapped!(walk, 8)) {
    expect(++steps).toBeLessThan(20);
    expect(walk.position).toBeGreaterThan(last);
    last = walk.position;
    if (walk.count > 0) found.push(walk.first);
  }
  expect(found).toEqual([V + 7]);
});
