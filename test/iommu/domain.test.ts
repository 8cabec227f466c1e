import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { IommuDevice } from '../../src/iommu/device.js';
import { Domain } from '../../src/iommu/domain.js';
import { defaultGeometry, PAGE_4K } from '../../src/iommu/geometry.js';
import type { Observer } from '../../src/iommu/observer.js';
import { READ, WRITE } from '../../src/mm/address-space.js';

const RW = READ | WRITE;

describe('translation', () => {
  test('a page translates for the accesses that it was mapped for', () => {
    const domain = new Domain();
    domain.map(0x100, 2 ** 51 + 3, 4, READ);
    expect(domain.translate(0x102, READ)).toBe(2 ** 51 + 5);
    expect(domain.translate(0x102, WRITE)).toBe(-1);
    expect(domain.frameAt(0x103)).toBe(2 ** 51 + 6);
    expect(domain.translate(0x104, READ)).toBe(-1);
  });

  test('mapping a page twice, or outside the aperture, is a bug of the caller', () => {
    const domain = new Domain({ geometry: { ...defaultGeometry, addressWidth: 39 } });
    domain.map(0x100, 1, 4, RW);
    expect(() => domain.map(0xff, 1, 2, RW)).toThrow('mapped already');
    expect(() => domain.map(2 ** 27 - 1, 1, 2, RW)).toThrow('outside');
    expect(() => domain.mapFrames(2 ** 27, Float64Array.of(1), 1, RW)).toThrow('outside');
    expect(() => domain.mapFrames(0x200, Float64Array.of(1), 1, 0)).toThrow('outside');
    expect(domain.pages).toBe(4);
  });

  test('map and unmap are told to the observer as they were asked', () => {
    const seen: unknown[] = [];
    const observer = {
      map: (...values: number[]) => seen.push(['map', ...values]),
      unmap: (...values: number[]) => seen.push(['unmap', ...values]),
    } as unknown as Observer;
    const domain = new Domain({ observer });
    domain.map(10, 20, 3, RW);
    domain.mapFrames(20, Float64Array.of(7, 9), 2, READ);
    domain.unmap(11, 10);
    expect(seen).toEqual([
      ['map', 10, 20, 3],
      ['map', 20, 7, 1],
      ['map', 21, 9, 1],
      ['unmap', 11, 10, 3],
    ]);
  });
});

describe('an IOTLB', () => {
  test('loses what is unmapped, and nothing else', () => {
    const domain = new Domain();
    const device = new IommuDevice({ address: '0000:00:01.0' });
    device.attach(domain);
    domain.map(0x101, 7, 6, RW);
    const held = (): number[] =>
      [1, 2, 3, 4, 5, 6].filter((page) => device.iotlb.lookup(0x100 + page, READ) >= 0);
    for (let page = 0x101; page < 0x107; page++) device.translate(page, READ);
    expect(held()).toEqual([1, 2, 3, 4, 5, 6]);
    domain.unmap(0x103, 2);
    expect(held()).toEqual([1, 2, 5, 6]);
  });
});

describe('superpages', () => {
  test('R3.2: unmap of one page of a 2 MiB superpage removes all of it and says so', () => {
    const domain = new Domain();
    domain.map(0x200, 0x4000, 1024, RW);
    expect(domain.unmap(0x210, 1)).toBe(512);
    expect([domain.removedFirst, domain.removedEnd]).toEqual([0x200, 0x400]);
    expect(domain.translate(0x210, READ)).toBe(-1);
    expect(domain.translate(0x400, READ)).toBe(0x4200);
  });

  test('R3.2: a 1 GiB superpage goes as a whole too, and not those beside it', () => {
    const domain = new Domain();
    const gib = 512 * 512;
    domain.map(gib, 4 * gib, 3 * gib, RW);
    expect(domain.unmap(2 * gib + 5, 1)).toBe(gib);
    expect([domain.removedFirst, domain.removedEnd]).toEqual([2 * gib, 3 * gib]);
    expect(domain.unmap(3 * gib - 5, 6)).toBe(gib);
    expect(domain.pages).toBe(gib);
    domain.map(2 * gib, 5 * gib, gib, RW);
    expect(domain.unmap(2 * gib - 1, gib + 1)).toBe(2 * gib);
    expect(domain.pages).toBe(0);
  });

  test('R3.2: what ends at a superpage leaves it', () => {
    const domain = new Domain();
    const gib = 512 * 512;
    domain.map(gib, 4 * gib, 2 * gib, RW);
    expect(domain.unmap(gib + 7, gib - 7)).toBe(gib);
    expect(domain.pages).toBe(gib);
  });

  test('R3.2: a range that ends inside superpages takes both whole', () => {
    const domain = new Domain();
    domain.map(0, 0x4000, 2048, RW);
    expect(domain.unmap(511, 514)).toBe(1536);
    expect([domain.removedFirst, domain.removedEnd]).toEqual([0, 1536]);
    expect(domain.pages).toBe(512);
  });

  test('R3.2: a run that ends within a GiB has superpages of 2 MiB there', () => {
    const domain = new Domain();
    const gib = 512 * 512;
    domain.map(gib, 4 * gib, gib - 512, RW);
    expect(domain.unmap(gib + 5, 1)).toBe(512);
    expect(domain.pages).toBe(gib - 1024);
  });

  test('frames that are not aligned, or an IOMMU with small pages only, make no superpage', () => {
    const unaligned = new Domain();
    unaligned.map(0x200, 0x4001, 512, RW);
    expect(unaligned.unmap(0x210, 1)).toBe(1);
    const small = new Domain({ geometry: { ...defaultGeometry, pageSizes: PAGE_4K } });
    small.map(0x200, 0x4000, 512, RW);
    expect(small.unmap(0x210, 1)).toBe(1);
  });

  test('R4.2: frames given one by one keep single-page granularity, unless the IOMMU merges', () => {
    const frames = Float64Array.from({ length: 512 }, (_, i) => 0x4000 + i);
    const exact = new Domain();
    exact.mapFrames(0x200, frames, 512, RW);
    expect(exact.unmap(0x210, 1)).toBe(1);
    const merging = new Domain({ merges: true });
    merging.mapFrames(0x200, frames, 512, RW);
    expect(merging.unmap(0x210, 1)).toBe(512);
    const part = new Domain({ merges: true });
    part.mapFrames(0x200, frames, 511, RW);
    expect(part.unmap(0x210, 1)).toBe(1);
    const small = new Domain({
      merges: true,
      geometry: { ...defaultGeometry, pageSizes: PAGE_4K },
    });
    small.mapFrames(0x200, frames, 512, RW);
    expect(small.unmap(0x210, 1)).toBe(1);
  });

  test.each([
    ['2 MiB', 512],
    ['1 GiB', 512 * 512],
  ])('a page that changes inside a superpage of %s splits it, and not the next', (_, pages) => {
    const domain = new Domain();
    domain.map(pages, 4 * pages, 2 * pages, RW);
    const last = 2 * pages - 1;
    domain.mapFrames(last, Float64Array.of(7), 1, RW);
    expect(domain.translate(last, READ)).toBe(7);
    expect(domain.unmap(last, 1)).toBe(1);
    expect(domain.pages).toBe(2 * pages - 1);
    expect(domain.unmap(2 * pages, 1)).toBe(pages);
  });

  test('R4.2: pages given one by one stay single beside a superpage', () => {
    const domain = new Domain();
    domain.map(0x200, 0x4000, 512, RW);
    domain.mapFrames(0x1000, Float64Array.of(7, 8), 2, RW);
    domain.mapFrames(0x1200, Float64Array.of(9), 1, RW);
    expect(domain.unmap(0x1000, 1)).toBe(1);
    expect(domain.unmap(0x210, 1)).toBe(512);
  });

  test('what is mapped for writing alone can be read where the IOMMU has it so', () => {
    const domain = new Domain({ writableIsReadable: true });
    domain.map(0x100, 5, 1, WRITE);
    domain.map(0x200, 6, 1, READ);
    expect([domain.translate(0x100, READ), domain.translate(0x200, WRITE)]).toEqual([5, -1]);
    const exact = new Domain();
    exact.map(0x100, 5, 1, WRITE);
    expect([exact.translate(0x100, READ), exact.translate(0x100, WRITE)]).toEqual([-1, 5]);
  });

  test('R4.2: a 1 GiB superpage is split into those of 2 MiB, and these as far as pages change', () => {
    const domain = new Domain();
    const gib = 512 * 512;
    domain.map(gib, 4 * gib, 2 * gib, RW);
    domain.mapFrames(2 * gib - 1, Float64Array.of(7), 1, RW);
    expect(domain.unmap(2 * gib - 2, 1)).toBe(1);
    expect(domain.unmap(2 * gib - 513, 1)).toBe(512);
    expect(domain.unmap(gib, 1)).toBe(512);
    expect(domain.unmap(2 * gib, 1)).toBe(gib);
  });

  test.each([
    ['2 MiB', 512],
    ['1 GiB', 512 * 512],
  ])(
    'one of %s that was removed leaves no mark: small pages in its place go one by one',
    (_, pages) => {
      const domain = new Domain();
      domain.map(pages, 4 * pages, 2 * pages, RW);
      domain.unmap(pages, 1);
      domain.map(pages, 1, 3, RW);
      expect(domain.unmap(pages + 1, 1)).toBe(1);
      expect(domain.translate(pages + 2, READ)).toBe(3);
      expect(domain.unmap(2 * pages, 1)).toBe(pages);
    },
  );
});

describe('the IOTLB', () => {
  function attached() {
    const domain = new Domain();
    const device = new IommuDevice({ address: '0000:00:01.0' });
    device.attach(domain);
    return { domain, device };
  }

  test('really caches: a translation without a flush stays, with one it goes', () => {
    const { domain, device } = attached();
    domain.map(0x100, 0, 1, RW);
    expect(device.translate(0x100, READ)).toBe(0);
    domain.unmapFast(0x100, 1);
    expect(device.translate(0x100, READ)).toBe(0);
    domain.flush(domain.removedFirst, domain.removedEnd - domain.removedFirst);
    expect(device.translate(0x100, READ)).toBe(-1);
  });

  test('unmap flushes every device of the domain, a large range as well', () => {
    const { domain, device } = attached();
    const second = new IommuDevice({ address: '0000:00:02.0' });
    second.attach(domain);
    domain.map(0x1000, 5, 4096, RW);
    for (const user of [device, second]) user.translate(0x1fff, READ);
    domain.unmap(0x1000, 4096);
    for (const user of [device, second]) expect(user.translate(0x1fff, READ)).toBe(-1);
  });

  test('a cached permission is not more than the page table gave', () => {
    const { domain, device } = attached();
    domain.map(0x100, 5, 1, READ);
    expect(device.translate(0x100, READ)).toBe(5);
    expect(device.translate(0x100, WRITE)).toBe(-1);
    domain.mapFrames(0x100, Float64Array.of(5), 1, RW);
    expect(device.translate(0x100, WRITE)).toBe(5);
    expect(device.iotlb.lookup(0x100, RW)).toBe(5);
  });

  test('nothing is left in it when the device goes to another domain', () => {
    const { domain, device } = attached();
    domain.map(0x100, 5, 1, RW);
    device.translate(0x100, READ);
    device.detach();
    expect(device.translate(0x100, READ)).toBe(-1);
    device.attach(new Domain());
    expect(device.translate(0x100, READ)).toBe(-1);
  });

  test('a domain with superpages and its IOTLB do what a plain model does', () => {
    const step = fc.record({
      map: fc.boolean(),
      page: fc.integer({ min: 0, max: 2500 }),
      count: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 500, max: 1200 })),
      aligned: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30, size: 'max' }), (steps) => {
        const { domain, device } = attached();
        const model = new Map<number, { frame: number; block: number | null }>();
        let nextFrame = 0;
        for (const { map, page, count, aligned } of steps) {
          if (map) {
            let clear = true;
            for (let at = page; at < page + count; at++) clear &&= !model.has(at);
            if (!clear) continue;
            nextFrame = Math.ceil((nextFrame + 4096) / 512) * 512;
            const frame = nextFrame + (aligned ? page % 512 : (page + 1) % 512);
            domain.map(page, frame, count, RW);
            for (let i = 0; i < count; i++) {
              const block = Math.floor((page + i) / 512);
              const whole = aligned && block * 512 >= page && (block + 1) * 512 <= page + count;
              model.set(page + i, { frame: frame + i, block: whole ? block : null });
            }
          } else {
            const blocks = new Set<number>();
            let removed = 0;
            for (let at = page; at < page + count; at++) {
              const block = model.get(at)?.block ?? null;
              if (block !== null) blocks.add(block);
            }
            for (const [at, entry] of [...model]) {
              const inBlock = entry.block !== null && blocks.has(entry.block);
              if (!inBlock && (at < page || at >= page + count)) continue;
              model.delete(at);
              removed++;
            }
            expect(domain.unmap(page, count)).toBe(removed);
          }
          for (let at = 0; at < 3800; at += 37)
            expect(device.translate(at, WRITE)).toBe(model.get(at)?.frame ?? -1);
        }
        expect(domain.pages).toBe(model.size);
      }),
      { numRuns: 60 },
    );
  });
});
