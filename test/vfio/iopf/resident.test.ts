import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { beforeEach, describe, expect, test } from 'vitest';
import { runDirect } from '../../../src/flow/direct.js';
import type { IommuDevice } from '../../../src/iommu/device.js';
import { READ, WRITE } from '../../../src/mm/address-space.js';
import { ResidentPages } from '../../../src/vfio/iopf/resident.js';
import { WatchedSpace } from '../../../src/vfio/iopf/watched-space.js';
import type { Mapping } from '../../../src/vfio/type1/mapping.js';
import { RW, TestContainer } from './container.js';

const IOVA = 0x1000;
const VADDR = 0x7f000;
const PAGES = 512;
/** Over the edges of words, alone, and at the end: [first, end). */
const RUNS = [
  [3, 5],
  [30, 230],
  [256, 257],
  [500, 512],
] as const;

let container: TestContainer;
let device: IommuDevice;
let mapping: Mapping;
let resident: ResidentPages;
const frames = new Float64Array(PAGES).map((_, page) => 0x4000 + page);

function bringIn(): void {
  for (let i = 0; i < RUNS.length; i++) {
    const [first, end] = RUNS[i]!;
    resident.add(mapping, first, frames, end - first, RW);
  }
}

beforeEach(() => {
  container = new TestContainer();
  container.mm.mmap(VADDR, PAGES, { kind: 'anon', protection: RW });
  device = container.attach();
  runDirect(container.iopf.enable());
  mapping = container.map(IOVA, PAGES, VADDR);
  resident = new ResidentPages(container);
  bringIn();
});

describe('R3.4: an invalidation', () => {
  test('goes by runs: one unmap and one flush for each, whatever its length, and none for what is not mapped', () => {
    const calls: string[] = [];
    const domain = device.domain!;
    const { unmapFast, flush } = domain;
    domain.unmapFast = (page, count) => {
      calls.push(`unmap ${page - IOVA}+${count}`);
      return unmapFast.call(domain, page, count);
    };
    domain.flush = (page, count) => {
      calls.push(`flush ${page - IOVA}+${count}`);
      flush.call(domain, page, count);
    };
    expect(resident.drop(mapping, 4, 300)).toBe(202);
    expect(calls).toEqual(
      [4, 1, 30, 200, 256, 1].flatMap((_, i, all) =>
        i % 2 === 0 ? [`unmap ${all[i]}+${all[i + 1]}`, `flush ${all[i]}+${all[i + 1]}`] : [],
      ),
    );
    expect(mapping.mapped.count).toBe(13);
    expect(domain.pages).toBe(13);
    expect(container.counters.residentPages).toBe(13);
    expect(domain.permissionAt(IOVA + 3)).toBe(RW);
    for (const page of [4, 30, 229, 256]) expect(domain.translate(IOVA + page, READ)).toBe(-1);
    expect(domain.translate(IOVA + 511, WRITE)).toBe(0x4000 + 11);
  });

  /** Bytes of heap per call of `work`, by a collection before and the heap's growth; what is let go counts until then. */
  function bytesPerCall(work: () => void): number {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    for (let i = 0; i < 20_000; i++) work();
    const calls = 10_000;
    const grown: number[] = [];
    for (let round = 0; round < 5; round++) {
      collect();
      const before = process.memoryUsage().heapUsed;
      for (let i = 0; i < calls; i++) work();
      grown.push((process.memoryUsage().heapUsed - before) / calls);
    }
    // A collection in the middle of a round makes it less, something beside us more.
    return grown.sort((a, b) => a - b)[2]!;
  }

  test('allocates nothing, from the notifier to the IOTLB', () => {
    const { mm, counters, iopf } = container;
    const watched = new WatchedSpace(mm, resident, iopf.handler, counters, null);
    watched.add(mapping);
    const invalidate = (): void => {
      bringIn();
      watched.invalidate(VADDR, PAGES);
    };
    expect(bytesPerCall(invalidate)).toBeLessThan(8);
    expect(mapping.mapped.count).toBe(0);
    expect(device.domain!.pages).toBe(0);
    expect(counters.residentPages).toBe(0);
    watched.close();

    // The least that there could be is seen.
    let kept: object | null = null;
    const one = (): void => {
      invalidate();
      kept = { page: mapping.mapped.count };
    };
    expect(bytesPerCall(one)).toBeGreaterThan(8);
    expect(kept).not.toBeNull();
  });
});
