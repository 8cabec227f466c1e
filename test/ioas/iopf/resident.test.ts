import { type HeapProfiler, Session } from 'node:inspector';
import { beforeEach, describe, expect, test } from 'vitest';
import { runDirect } from '../../../src/flow/direct.js';
import { ResidentPages } from '../../../src/ioas/iopf/resident.js';
import { WatchedSpace } from '../../../src/ioas/iopf/watched-space.js';
import type { Mapping } from '../../../src/ioas/mapping.js';
import type { IommuDevice } from '../../../src/iommu/device.js';
import { READ, WRITE } from '../../../src/mm/address-space.js';
import { RW, TestContainer } from './container.js';

const IOVA = 0x1000;
const VADDR = 0x7f000;
const PAGES = 512;
/** Calls of a round in which allocations are looked for, and rounds. */
const CALLS = 2000;
const ROUNDS = 21;
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
    resident.add(mapping, first, frames, end - first, RW, device.domain!);
  }
}

beforeEach(() => {
  container = new TestContainer();
  container.mm.mmap(VADDR, PAGES, { kind: 'anon', protection: RW });
  device = container.attach();
  runDirect(container.iopf.enable());
  mapping = container.map(IOVA, PAGES, VADDR);
  resident = new ResidentPages(container.space);
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

  /**
   * Bytes that `work` allocates in so many calls, by round, the least first. In some rounds the
   * compiler, another thread, is not done; in some the profiler misses what optimized code makes.
   */
  function allocatedBytes(work: () => void): number[] {
    const session = new Session();
    session.connect();
    const rounds: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      for (let i = 0; i < 10_000; i++) work();
      session.post('HeapProfiler.startSampling', {
        samplingInterval: 1,
        includeObjectsCollectedByMajorGC: true,
        includeObjectsCollectedByMinorGC: true,
      });
      const measured = (): void => {
        for (let i = 0; i < CALLS; i++) work();
      };
      measured();
      session.post('HeapProfiler.stopSampling', (_error, { profile }) => {
        rounds.push(bytesBelow(profile.head, measured.name, false));
      });
    }
    session.disconnect();
    return rounds.sort((a, b) => a - b);
  }

  /** What was allocated in functions that a function of this name called, and in itself. */
  function bytesBelow(
    node: HeapProfiler.SamplingHeapProfileNode,
    name: string,
    inside: boolean,
  ): number {
    const within = inside || node.callFrame.functionName === name;
    return node.children.reduce(
      (sum, child) => sum + bytesBelow(child, name, within),
      within ? node.selfSize : 0,
    );
  }

  test('allocates nothing, from the notifier to the IOTLB', () => {
    const { mm, counters, iopf } = container;
    const watched = new WatchedSpace(mm, resident, iopf.handler, counters, null);
    watched.add(mapping);
    const invalidate = (): void => {
      bringIn();
      watched.invalidate(VADDR, PAGES);
    };
    expect(allocatedBytes(invalidate)[ROUNDS >> 2]).toBe(0);
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
    expect(allocatedBytes(one).at(-1)).toBeGreaterThanOrEqual(CALLS * 8);
    expect(kept).not.toBeNull();
  });
});
