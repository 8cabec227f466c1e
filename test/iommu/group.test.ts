import { describe, expect, test } from 'vitest';
import { Errno } from '../../src/abi/errno.js';
import { IommuDevice } from '../../src/iommu/device.js';
import { IommuGroup } from '../../src/iommu/group.js';
import { errnoOf } from '../errno-of.js';

describe('who has the DMA of a group', () => {
  test('has it until it gave it back as often as it took it; others are refused meanwhile', () => {
    const group = new IommuGroup(1);
    const [one, other] = [{}, {}];
    group.claim(one);
    group.claim(one);
    expect([group.isOwnedBy(one), group.isOwnedBy(other)]).toEqual([true, false]);
    expect(errnoOf(() => group.claim(other))).toBe(Errno.EBUSY);
    expect(errnoOf(() => group.claim(other, 'EPERM'))).toBe(Errno.EPERM);
    group.unclaim();
    expect(group.isClaimed).toBe(true);
    group.unclaim();
    expect(group.isClaimed).toBe(false);
    group.claim(other);
    expect(group.isOwnedBy(other)).toBe(true);
    group.unclaim();
    expect(() => group.unclaim()).toThrow('not claimed');
  });
});

describe('R7.1: where the devices of a group may fault', () => {
  const device = (faultable: { first: number; end: number }[] | null) =>
    Object.assign(new IommuDevice({ address: '0000:00:01.0' }), { faultable });

  test('is everywhere, unless one of them can wait only at some pages: the last is outside', () => {
    const group = new IommuGroup(1);
    group.add(device(null));
    expect(group.mayFault(0)).toBe(true);
    group.add(
      device([
        { first: 4, end: 8 },
        { first: 16, end: 24 },
      ]),
    );
    expect([3, 4, 7, 8, 15, 16, 23, 24].map((page) => group.mayFault(page))).toEqual([
      ...[false, true, true, false],
      ...[false, true, true, false],
    ]);
  });

  test('is what all of them can', () => {
    const group = new IommuGroup(1);
    group.add(
      device([
        { first: 0, end: 8 },
        { first: 16, end: 24 },
      ]),
    );
    group.add(
      device([
        { first: 6, end: 18 },
        { first: 24, end: 32 },
      ]),
    );
    expect(group.faultable).toEqual([
      { first: 6, end: 8 },
      { first: 16, end: 18 },
    ]);
  });

  test('a device is in one group only', () => {
    const one = device(null);
    new IommuGroup(1).add(one);
    expect(() => new IommuGroup(2).add(one)).toThrow('in a group already');
  });
});
