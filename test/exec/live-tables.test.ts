import { expect, test } from 'vitest';
import { devicesOf, mappedRanges, tableOf } from '../../src/exec/live/tables.js';
import { READ } from '../../src/mm/address-space.js';
import type { ProcessMemory } from '../../src/mm/process/memory.js';
import { IOVA_PAGE, IommufdKit } from '../iommufd/kit.js';

const memory = { placeOf: () => ({ pid: 7, page: 9 }) } as unknown as ProcessMemory;

test('entries of two IOAS at one address are told apart by the ids that the program has', () => {
  const made = new IommufdKit({ groups: [{}, {}] });
  const ids = [made.bind(1), made.bind(2)].map(({ file, iommu }) => {
    const ioas = made.ioas();
    made.map(ioas, 4);
    made.attach(file, ioas);
    expect(iommu.fault(IOVA_PAGE + 1, READ)).toBe(true);
    return ioas;
  });
  const { entries, absent } = tableOf(IOVA_PAGE, 4, made.kit.machine, memory);
  expect(entries.map(({ container, ioas, domain, pid }) => [container, ioas, domain, pid])).toEqual(
    [
      [0, ids[0], 0, 7],
      [1, ids[1], 0, 7],
    ],
  );
  expect(ids[0]).not.toBe(ids[1]);
  expect(devicesOf(made.kit.machine, () => 0).map(({ space }) => space)).toEqual([
    { container: 0, ioas: ids[0] },
    { container: 1, ioas: ids[1] },
  ]);
  expect(absent).toBe(3);
});

/** An IOAS that a device is behind. */
function attached(made: IommufdKit): number {
  const ioas = made.ioas();
  made.attach(made.bind(1).file, ioas);
  return ioas;
}

test('ranges beyond 64 are joined where the gaps are smallest, and none is lost', () => {
  const made = new IommufdKit({ groups: [{}] });
  const ioas = attached(made);
  // Gaps of one page between the first ten, of three between the others.
  const firsts = [...Array(70).keys()].map((at) => IOVA_PAGE + (at < 10 ? 2 * at : 4 * at));
  for (const first of firsts) made.map(ioas, 1, first);
  const ranges = mappedRanges(made.kit.machine);
  expect(ranges.length).toBeLessThanOrEqual(64);
  expect(ranges.length).toBe(61);
  expect(ranges[0]).toEqual([IOVA_PAGE * 4096, 19 * 4096]);
  expect(ranges[1]).toEqual([firsts[10]! * 4096, 4096]);
  expect(ranges.at(-1)).toEqual([firsts[69]! * 4096, 4096]);
});

test('the mapping around an address is told with its rights, and null where there is none', () => {
  const made = new IommufdKit({ groups: [{}] });
  made.map(attached(made), 4);
  const at = (page: number) => tableOf(page, 1, made.kit.machine, memory).mapping;
  expect(at(IOVA_PAGE + 3)).toMatchObject({
    iova: IOVA_PAGE * 4096,
    bytes: 4 * 4096,
    permission: 'rw',
  });
  expect(at(IOVA_PAGE + 4)).toBeNull();
});
