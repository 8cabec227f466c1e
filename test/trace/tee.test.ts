import { expect, test } from 'vitest';
import type { Observer } from '../../src/iommu/observer.js';
import { tee } from '../../src/trace/tee.js';

/** An observer of everything, or of what every observer sees, and what it was told. */
function listener(isWhole: boolean) {
  const told: unknown[] = [];
  const all = [
    'mappingAdded',
    'mappingRemoved',
    'invalidate',
    'spaceEnded',
    'pageLost',
    'accessed',
    'faultMade',
  ];
  const names = ['map', 'unmap', 'pageRequest', 'pageResponse', ...(isWhole ? all : [])];
  const entries = names.map((name) => [name, (...given: unknown[]) => told.push([name, ...given])]);
  return { observer: Object.fromEntries(entries) as Observer, told };
}

test('what one observer is told is told to all, in the same words', () => {
  const [first, second, small] = [listener(true), listener(true), listener(false)];
  const both = tee([first.observer, null, small.observer, second.observer]);
  const calls = Object.keys(first.observer);
  expect(Object.keys(both!).sort()).toEqual([...calls].sort());
  const expected = calls.map((name, index) => [name, ...[1, 2, 3, 4, 5, 6].map((n) => n * index)]);
  for (const [name, ...given] of expected) {
    const call = both![name as keyof Observer] as (...given: unknown[]) => void;
    // As many as it takes.
    call(...given.slice(0, call.length));
  }
  const cut = expected.map(([name, ...given]) => [
    name,
    ...given.slice(0, (both![name as keyof Observer] as () => void).length),
  ]);
  expect(first.told).toEqual(cut);
  expect(second.told).toEqual(cut);
  expect(small.told).toEqual(cut.filter(([name]) => String(name) in small.observer));
});

test('one alone is itself, and of none there is none', () => {
  const { observer } = listener(true);
  expect(tee([null, observer])).toBe(observer);
  expect(tee([null])).toBeNull();
});
