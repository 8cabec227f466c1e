import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Mapping } from '../../src/ioas/mapping.js';
import { MappingAddressIndex } from '../../src/ioas/mapping-address-index.js';
import { MappingIndex } from '../../src/ioas/mapping-index.js';
import { RangeTrie } from '../../src/ioas/range-trie.js';
import { UserPages } from '../../src/ioas/user-pages.js';
import { SimulatedSpace } from '../../src/mm/simulated.js';
import { SimulatedMemory } from '../../src/mm/simulated-memory.js';

const mm = new SimulatedSpace(new SimulatedMemory());

function mappingOf(iovaPage: number, pages: number, vaddrPage = 0): Mapping {
  return new Mapping(iovaPage, pages, 3, new UserPages(mm, vaddrPage, pages, 3, null));
}

/**
 * Many more inserts than removals, so that blocks split, and then a phase that takes most of it
 * down again.
 */
const program = fc.noShrink(
  fc.record({
    seed: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
    inserts: fc.integer({ min: 1, max: 1500 }),
    span: fc.constantFrom(300, 5_000, 2 ** 34),
    ascending: fc.boolean(),
    longest: fc.constantFrom(1, 4, 3000),
  }),
);

/** A small generator of numbers below `bound`, so that the programs are long and still cheap. */
function numbers(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    const high = state;
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor(((high * 2 ** 21 + (state >>> 11)) / 2 ** 53) * bound);
  };
}

test('the index by IOVA does what a plain list does', () => {
  fc.assert(
    fc.property(program, ({ seed, inserts, span, ascending, longest }) => {
      const next = numbers(seed);
      const index = new MappingIndex();
      let model: Mapping[] = [];
      const covering = (page: number) =>
        model.find((at) => page >= at.iovaPage && page < at.iovaEnd) ?? null;
      for (let i = 0; i < inserts; i++) {
        const first = ascending ? i * 3000 : next(span);
        const mapping = mappingOf(first, 1 + next(longest), 0);
        const overlaps = model.some((at) => first < at.iovaEnd && at.iovaPage < mapping.iovaEnd);
        expect(index.overlaps(first, mapping.pages)).toBe(overlaps);
        if (overlaps) continue;
        index.insert(mapping);
        model.push(mapping);
        if (next(5) === 0) {
          const gone = model.splice(next(model.length), 1)[0]!;
          index.remove(gone);
        }
      }
      const check = () => {
        model.sort((a, b) => a.iovaPage - b.iovaPage);
        expect(index.size).toBe(model.length);
        expect([...index]).toEqual(model);
        for (let i = 0; i < 50; i++) {
          const at = model.length === 0 ? undefined : model[next(model.length)];
          const page =
            at === undefined || next(2) === 0 ? next(span) : at.iovaPage - 1 + next(at.pages + 2);
          expect(index.covering(page)).toBe(covering(page));
          const from = covering(page) ?? model.find((entry) => entry.iovaPage >= page) ?? null;
          expect(index.firstFrom(page)).toBe(from);
        }
      };
      check();
      model = model.filter((mapping) => {
        const keep = next(10) === 0;
        if (!keep) index.remove(mapping);
        return keep;
      });
      check();
    }),
    { numRuns: 40 },
  );
});

test('IOVAs above 2^48 bytes are kept, found in order behind all others, and taken out again', () => {
  const index = new MappingIndex();
  const low = mappingOf(10, 5);
  const across = mappingOf(2 ** 36 - 2, 4);
  const high = mappingOf(2 ** 40, 8);
  const last = mappingOf(2 ** 52 - 1, 1);
  for (const mapping of [last, low, across, high]) index.insert(mapping);
  expect([...index]).toEqual([low, across, high, last]);
  expect(index.size).toBe(4);
  expect(index.covering(2 ** 36 - 1)).toBe(across);
  expect(index.covering(2 ** 36 + 1)).toBe(across);
  expect(index.covering(2 ** 36 + 2)).toBeNull();
  expect(index.covering(2 ** 52 - 1)).toBe(last);
  expect(index.firstFrom(2 ** 40 + 8)).toBe(last);
  expect(index.overlaps(2 ** 40 - 1, 1)).toBe(false);
  expect(index.overlaps(2 ** 40 - 1, 2)).toBe(true);
  expect(index.overlaps(2 ** 40 + 8, 1)).toBe(false);
  expect([index.cuts(2 ** 40, 2 ** 40 + 8), index.cuts(2 ** 40, 2 ** 40 + 7)]).toEqual([
    false,
    true,
  ]);
  expect(() => index.remove(mappingOf(2 ** 40, 8))).toThrow('not in the index');
  for (const mapping of [across, last, high]) index.remove(mapping);
  expect([...index]).toEqual([low]);
  expect(index.covering(2 ** 40)).toBeNull();
});

test('overlapping mappings, and taking out what is not in, are bugs of the caller', () => {
  const index = new MappingIndex();
  const mapping = mappingOf(10, 5, 0);
  index.insert(mapping);
  expect(() => index.remove(mappingOf(10, 5, 0))).toThrow('not in the index');
  index.remove(mapping);
  expect(index.size).toBe(0);
  expect(index.firstFrom(0)).toBeNull();
  for (const [first, pages] of [
    [14, 1],
    [0, 2 ** 30],
    [9, 2],
  ] as const) {
    const other = new MappingIndex();
    other.insert(mapping);
    expect(() => other.insert(mappingOf(first, pages, 0))).toThrow('overlap');
  }
});

test('R3.5: the index by address finds exactly what overlaps, each once, the same memory mapped often too', () => {
  fc.assert(
    fc.property(program, ({ seed, inserts, span, longest }) => {
      const next = numbers(seed);
      const index = new MappingAddressIndex();
      let model: Mapping[] = [];
      for (let i = 0; i < inserts; i++) {
        const vaddr = next(4) === 0 ? 77 : next(span);
        const mapping = mappingOf(i * 10_000, 1 + next(longest), vaddr);
        index.insert(mapping);
        model.push(mapping);
        if (next(5) === 0) index.remove(model.splice(next(model.length), 1)[0]!);
      }
      const check = () => {
        expect(index.size).toBe(model.length);
        for (let i = 0; i < 20; i++) {
          const first = i === 0 ? 77 : next(span);
          const count = i === 1 ? 2 ** 36 : 1 + next(i % 2 === 0 ? 3 : 5000);
          const found: Mapping[] = [];
          for (let at = index.firstOverlap(first, count); at !== null; at = index.nextOverlap())
            found.push(at);
          const expected = model.filter(
            (at) => at.vaddrPage < first + count && first < at.vaddrPage + at.pages,
          );
          const byIova = (a: Mapping, b: Mapping) => a.iovaPage - b.iovaPage;
          expect(found.sort(byIova)).toEqual(expected.sort(byIova));
        }
      };
      check();
      model = model.filter((mapping) => {
        const keep = next(8) === 0;
        if (!keep) index.remove(mapping);
        return keep;
      });
      check();
    }),
    { numRuns: 40 },
  );
});

test('a virtual address that no process can have overlaps nothing, and is taken out again without harm', () => {
  const index = new MappingAddressIndex();
  const beyond = mappingOf(10, 5, 2 ** 40);
  index.insert(beyond);
  expect(index.size).toBe(1);
  expect(index.firstOverlap(2 ** 40, 5)).toBeNull();
  index.remove(beyond);
  expect(index.size).toBe(0);
});

test('taking out what is not there is our own bug, in either index', () => {
  const index = new MappingAddressIndex();
  expect(() => index.remove(mappingOf(10, 5, 7))).toThrow('not in the index');
  index.insert(mappingOf(10, 5, 7));
  expect(() => index.remove(mappingOf(10, 5, 7))).toThrow('not in the index');
});

test('a range that ends beyond the last page, or is empty, is our own bug', () => {
  const trie = new RangeTrie();
  expect(() => trie.insert(2 ** 36 - 1, 2 ** 36 + 1)).toThrow('outside the trie');
  expect(() => trie.insert(5, 5)).toThrow('outside the trie');
  expect(trie.size).toBe(0);
});

test('a mapping across a multiple of 4 TiB is found on both sides, by IOVA and by address', () => {
  const edge = 2 ** 30;
  const index = new MappingIndex();
  const across = mappingOf(edge - 5, 10);
  index.insert(mappingOf(edge - 20, 15));
  index.insert(across);
  index.insert(mappingOf(edge + 5, 3));
  expect(
    [edge - 5, edge - 1, edge, edge + 4].map((page) => index.covering(page) === across),
  ).toEqual([true, true, true, true]);
  expect([index.covering(edge - 6) === across, index.covering(edge + 5) === across]).toEqual([
    false,
    false,
  ]);
  index.remove(across);
  expect([edge - 5, edge + 4].map((page) => index.covering(page))).toEqual([null, null]);
  expect(index.covering(edge + 5)?.pages).toBe(3);
});

test('a single mapping beyond 2^48 bytes is found as any other is', () => {
  const index = new MappingIndex();
  const only = mappingOf(2 ** 40, 5);
  index.insert(only);
  expect(index.size).toBe(1);
  const pages = [2 ** 40 - 1, 2 ** 40, 2 ** 40 + 4, 2 ** 40 + 5];
  expect(pages.map((page) => index.covering(page) === only)).toEqual([false, true, true, false]);
  expect([index.firstFrom(0), index.overlaps(2 ** 40 + 4, 9), [...index]]).toEqual([
    ...[only, true, [only]],
  ]);
  index.remove(only);
  expect([index.size, index.covering(2 ** 40)]).toEqual([0, null]);
});
