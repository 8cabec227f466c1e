import { expect, test } from 'vitest';
import { runDirect } from '../../../src/flow/direct.js';
import { IommuDevice } from '../../../src/iommu/device.js';
import { IommuGroup } from '../../../src/iommu/group.js';
import { READ, WRITE } from '../../../src/mm/address-space.js';
import { RW, TestContainer } from './container.js';

const IOVA = 0x1000;
const VADDR = 0x7f000;

test('R7.1: a group that can wait only here and there is refused elsewhere, and others are not', () => {
  const container = new TestContainer();
  container.mm.mmap(VADDR, 4, { kind: 'anon', protection: RW });
  const [device, other] = [container.attach(), container.attach()];
  const group = new IommuGroup(1);
  group.faultable = [
    { first: IOVA, end: IOVA + 1 },
    { first: IOVA + 3, end: IOVA + 4 },
  ];
  group.add(device);
  runDirect(container.iopf.enable());
  container.map(IOVA, 2, VADDR);
  container.map(IOVA + 2, 1, VADDR + 2, RW, { pinned: true });
  container.map(IOVA + 3, 1, VADDR + 3);
  expect(device.fault(IOVA, WRITE)).toBe(true);
  expect(device.fault(IOVA + 1, READ)).toBe(false);
  expect(runDirect(device.faultFlow(IOVA + 1, READ))).toBe(false);
  expect(runDirect(device.faultFlow(IOVA + 3, READ))).toBe(true);
  expect(device.translate(IOVA + 1, READ)).toBe(-1);
  // What its driver has pinned there is reached without a fault.
  expect(device.translate(IOVA + 2, WRITE)).toBeGreaterThanOrEqual(0);
  expect(other.fault(IOVA + 1, READ)).toBe(true);
  expect(container.counters.responsesInvalid).toBe(2);
  container.release();
  expect([container.memory.pinned, container.mm.lockedPages]).toEqual([0, 0]);
});

test('R7.1: a group can wait where all of its devices can', () => {
  const group = new IommuGroup(1);
  const add = (first: number, end: number) => {
    const device = new IommuDevice({ address: `0000:00:0${group.devices.length}.0` });
    device.faultable = [{ first, end }];
    group.add(device);
  };
  group.add(new IommuDevice({ address: '0000:00:0f.0' }));
  expect(group.mayFault(7)).toBe(true);
  add(0, 8);
  expect([7, 8].map((page) => group.mayFault(page))).toEqual([true, false]);
  add(4, 16);
  expect([3, 4, 7, 8].map((page) => group.mayFault(page))).toEqual([false, true, true, false]);
  add(32, 33);
  expect(group.faultable).toEqual([]);
});
