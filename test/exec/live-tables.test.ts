import { expect, test } from 'vitest';
import { devicesOf, tableOf } from '../../src/exec/live/tables.js';
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
