import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AddressAxis, PAGES_END } from '../../src/page/address-axis.js';

const GIB = 2 ** 18;

describe('the axis of addresses', () => {
  it('leaves out what was never mapped: QEMU maps from 64 KiB up and from 512 GiB down', () => {
    const axis = new AddressAxis();
    expect(
      axis.grow([
        [16, 272],
        [512 * GIB - 32, 32],
      ]),
    ).toBe(true);
    expect(axis.segments.map(({ first, pages }) => [first, pages])).toEqual([
      [0, 288],
      [512 * GIB - 32, 32],
    ]);
    expect(axis.total).toBe(320);
    expect(axis.pageAt(288)).toBe(512 * GIB - 32);
    expect(axis.placeOf(512 * GIB - 1)).toBe(319);
  });

  it('holds every page that was mapped, in few segments, and finds each again', () => {
    const range = fc.tuple(
      fc.oneof(fc.integer({ min: 0, max: 5000 }), fc.integer({ min: 0, max: PAGES_END - 2 ** 20 })),
      fc.integer({ min: 1, max: 2 ** 20 }),
    );
    fc.assert(
      fc.property(
        fc.array(fc.array(range, { minLength: 1, maxLength: 40 }), { minLength: 1, maxLength: 8 }),
        (steps) => {
          const axis = new AddressAxis();
          for (const ranges of steps) axis.grow(ranges);
          expect(axis.segments.length).toBeLessThanOrEqual(12);
          for (const [first, pages] of steps.flat())
            for (const page of [first, first + pages - 1])
              expect(axis.pageAt(axis.placeOf(page))).toBe(page);
          axis.segments.slice(1).forEach(({ at, first }, index) => {
            const before = axis.segments[index]!;
            expect(at).toBe(before.at + before.pages);
            expect(first).toBeGreaterThan(before.first + before.pages);
          });
          expect(axis.isWhole).toBe(true);
          expect(axis.grow(steps.flat())).toBe(false);
        },
      ),
    );
  });

  it('a range that grows a page at a time moves the axis seldom', () => {
    const axis = new AddressAxis();
    let moved = 0;
    for (let pages = 1; pages <= 8192; pages++)
      if (axis.grow([[512 * GIB - pages, pages]])) moved++;
    expect(moved).toBeLessThan(8 * Math.log2(8192));
  });

  it('keeps what is shown where it is when more is mapped', () => {
    const axis = new AddressAxis();
    axis.grow([[GIB, 1024]]);
    axis.show(100, 116);
    const first = axis.pageAt(axis.from);
    axis.grow([[0, 512]]);
    expect(axis.pageAt(axis.from)).toBe(first);
    expect(axis.shown).toBe(16);
  });

  it('zooms to single pages around a place, moves within its ends, and shows all again', () => {
    const axis = new AddressAxis();
    axis.grow([[0, 2 ** 20]]);
    for (let zoom = 0; zoom < 30; zoom++) axis.zoom(2, 1000.5);
    expect(axis.shown).toBe(8);
    expect(axis.from).toBeLessThanOrEqual(1000.5);
    expect(axis.to).toBeGreaterThan(1000.5);
    axis.pan(-1000);
    expect(axis.from).toBe(0);
    axis.pan(1e9);
    expect(axis.to).toBe(axis.total);
    for (let zoom = 0; zoom < 40; zoom++) axis.zoom(0.5, axis.from);
    expect(axis.isWhole).toBe(true);
  });

  it('asks about all that is shown and nothing else, in no more rows than it may', () => {
    const range = fc.tuple(
      fc.integer({ min: 0, max: 2 ** 30 }),
      fc.integer({ min: 1, max: 2 ** 16 }),
    );
    const view = fc.tuple(
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.double({ min: 0, max: 1, noNaN: true }),
    );
    fc.assert(
      fc.property(fc.array(range, { minLength: 1, maxLength: 20 }), view, (ranges, [a, b]) => {
        const axis = new AddressAxis();
        axis.grow(ranges);
        axis.show(Math.min(a, b) * axis.total, Math.max(a, b) * axis.total);
        const requests = axis.requests(240);
        expect(requests.reduce((sum, { rows }) => sum + rows, 0)).toBeLessThanOrEqual(240);
        const asked = requests.reduce((sum, { pages }) => sum + pages, 0);
        expect(asked).toBeGreaterThanOrEqual(axis.shown - 1e-6);
        expect(asked).toBeLessThanOrEqual(axis.shown + 2);
        for (const { pages, rows } of requests)
          expect([rows >= 1, rows <= pages]).toEqual([true, true]);
        expect(requests[0]!.first).toBe(axis.pageAt(axis.from));
      }),
    );
  });
});
