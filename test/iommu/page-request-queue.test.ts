import { expect, test } from 'vitest';
import { PageRequestQueue } from '../../src/iommu/page-request-queue.js';

test('group ids are the 512 of PCIe, one after the other, and as many groups may be pending', () => {
  const queue = new PageRequestQueue();
  const ids = Array.from({ length: 513 }, () => queue.takeId());
  expect(ids.slice(0, 512)).toEqual(Array.from({ length: 512 }, (_, id) => id));
  expect(ids[512]).toBe(0);
  expect(queue.limits).toEqual({ pendingGroups: 512, partialRequests: 1024 });
});
