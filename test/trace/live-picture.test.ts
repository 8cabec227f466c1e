import { expect, it } from 'vitest';
import { Counters } from '../../src/iommu/observer.js';
import { LivePicture } from '../../src/trace/live-picture.js';
import { Timeline } from '../../src/trace/timeline.js';

it('a picture has each event in the step in which it happened, and the time that devices waited', () => {
  let clock = 1000;
  const counters = new Counters();
  const picture = new LivePicture(counters, () => clock);
  const mapping = { iovaPage: 5, pages: 8 } as Parameters<LivePicture['mappingAdded']>[0];
  const events = [
    () => picture.mappingAdded(mapping),
    () => picture.pageRequest(null as never, 5),
    () => picture.pageResponse(),
    () => picture.map(5, 99, 3),
    () => picture.accessed(5, 1, false),
    () => picture.accessed(6, 1, true),
    () => picture.touched(7, 2),
    // Two of three were there.
    () => picture.unmap(5, 3, 2),
    () => picture.unmap(9, 3, 0),
    () => picture.invalidate(0, 0, 4, 3, true),
    () => picture.invalidate(0, 0, 4, 2, false),
    () => picture.invalidate(0, 0, 4, 0, true),
    () => picture.mappingRemoved(mapping),
  ];
  for (const event of events) {
    event();
    clock += 1;
  }
  const { timeline, map } = picture.picture;
  const of = (key: 'faults' | 'invalidations' | 'reclaimed' | 'stalled') =>
    timeline.flatMap((step, i) => (step[key] > 0 ? [[i, step[key]]] : []));
  expect(timeline).toHaveLength(13);
  expect(of('faults')).toEqual([[1, 1]]);
  expect(of('stalled')).toEqual([[1, 1]]);
  expect(of('invalidations')).toEqual([
    [9, 1],
    [10, 1],
  ]);
  expect(of('reclaimed')).toEqual([[9, 3]]);
  const cells = map.rows.flatMap(({ iova, cells }) => cells.map((cell) => [iova / 4096, cell]));
  const cell = { touched: 0, faulted: 0, mapped: 0, taken: 0 };
  expect(cells).toEqual([
    [5, { ...cell, step: 1, faulted: 1 }],
    // What devices reach is told with the time of the last event before it.
    [5, { ...cell, step: 3, mapped: 1, touched: 1 }],
    [5, { ...cell, step: 7, taken: 1 }],
    [6, { ...cell, step: 3, mapped: 1 }],
    [6, { ...cell, step: 7, taken: 1 }],
    [7, { ...cell, step: 3, mapped: 1, touched: 1 }],
    [8, { ...cell, step: 3, touched: 1 }],
  ]);
  const changes = map.mappings.rows.map(({ iova, cells }) => [iova / 4096, cells]);
  expect(changes).toEqual(
    [5, 6, 7, 8, 9, 10, 11, 12].map((page) => [
      page,
      [
        { step: 0, added: 1, removed: 0 },
        { step: 12, added: 0, removed: 1 },
      ],
    ]),
  );
});

it('time goes on where nothing happens: what is mapped is a mean over each step', () => {
  let clock = 0;
  const counters = new Counters();
  const picture = new LivePicture(counters, () => clock);
  counters.mappedPages = 10;
  clock = 100;
  picture.tick();
  counters.mappedPages = 20;
  clock = 512;
  const { timeline, map } = picture.picture;
  // 512 µs take steps of 2.
  expect(timeline.map(({ mappedPages }) => mappedPages)).toEqual([
    ...Array(50).fill(10),
    ...Array(206).fill(20),
  ]);
  expect(timeline.at(-1)!.seconds).toBe(510e-6);
  expect(map.rows).toEqual([]);
});

it('a timeline ends with the run, in the middle of a step', () => {
  const timeline = new Timeline();
  const pages = { mappedPages: 8, residentPages: 4, pinnedPages: 2 };
  timeline.advance(0, 256, pages, false);
  expect(timeline.steps).toHaveLength(256);
  timeline.advance(256, 1, pages, true);
  expect(timeline.steps).toHaveLength(129);
  // The half of a step that there was is all of it.
  expect(timeline.steps.at(-1)).toMatchObject({ seconds: 256e-6, stalled: 1, ...pages });
  expect(timeline.rampUs).toBe(257);
  timeline.fault(512);
  expect(timeline.steps).toHaveLength(65);
});
