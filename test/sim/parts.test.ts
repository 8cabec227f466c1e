import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Random } from '../../src/abi/random.js';
import { READ, WRITE } from '../../src/mm/address-space.js';
import { PageSet } from '../../src/mm/page-set.js';
import { HostMemory } from '../../src/sim/host-memory.js';
import { readModel } from '../../src/sim/input.js';
import { RAM_ADDRESS, RAM_IOVA } from '../../src/sim/memory-layout.js';
import { parsePolicy } from '../../src/sim/policy.js';
import { TimedProgram } from '../../src/sim/timed-program.js';
import { networkRing } from '../../src/sim/workloads/ring.js';

const { costs } = readModel('odp');
const minor = costs.request + costs.handle + costs.pageIn + costs.map + costs.respond;

function guest(policy: string, pages: number): TimedProgram {
  const parsed = parsePolicy(policy);
  const made = new TimedProgram(new HostMemory(parsed.memoryBytes), parsed, costs);
  made.addMemory(pages);
  made.begin();
  return made;
}

describe('a set of pages', () => {
  it('is as a set of numbers, whatever is done to it', () => {
    const page = fc.oneof(
      fc.integer({ min: 0, max: 70 }),
      fc.integer({ min: 32_700, max: 32_800 }),
      fc.integer({ min: 2 ** 35, max: 2 ** 35 + 9 }),
    );
    const act = fc.tuple(
      fc.constantFrom('add', 'delete', 'range'),
      page,
      fc.oneof(fc.integer({ min: 0, max: 100 }), fc.constant(2 ** 36)),
    );
    fc.assert(
      fc.property(fc.array(act, { maxLength: 100 }), (acts) => {
        const pages = new PageSet();
        const model = new Set<number>();
        for (const [what, at, count] of acts) {
          if (what === 'add') {
            pages.add(at);
            model.add(at);
          } else if (what === 'delete') expect(pages.delete(at)).toBe(model.delete(at));
          else {
            const there = [...model].filter((each) => each >= at && each < at + count);
            expect(pages.pagesOf(at, at + count)).toEqual(there.sort((a, b) => a - b));
            for (const each of there) model.delete(each);
            expect(pages.deleteRange(at, count)).toBe(there.length);
          }
          expect(pages.size).toBe(model.size);
          expect(pages.has(at)).toBe(model.has(at));
        }
      }),
    );
  });
});

describe('numbers that look random', () => {
  it('are those of mulberry32', () => {
    expect(new Random(0).next()).toBe(0.26642920868471265);
    const random = new Random(1);
    expect(Array.from({ length: 6 }, () => random.below(1000))).toEqual([
      627, 2, 527, 981, 968, 281,
    ]);
  });
});

describe('a ring', () => {
  it('gets its packets at their rate, and waits for none that comes while it works', () => {
    const spec = {
      kind: 'ring',
      memory: 0,
      pool: 16 * 2048,
      bufferBytes: 2048,
      entries: 8,
      packets: 100,
      packetsPerSecond: 1000,
      packetTime: 3,
      recycle: 'fifo',
    } as const;
    const time = (packetsPerSecond: number): number => {
      const parsed = parsePolicy('static');
      const made = new TimedProgram(new HostMemory(null), parsed, costs);
      for (const _ of networkRing({ ...spec, packetsPerSecond })(made, new Random(1)));
      return made.now;
    };
    // The last packet comes 99 ms after the first.
    expect(Math.floor(time(1000) / 1000)).toBe(99);
    const busy = time(1e6);
    expect(busy).toBeGreaterThanOrEqual(300);
    expect(busy).toBeLessThan(99_000 / 10);
    expect(time(1e7)).toBe(busy);
  });
});

describe('a guest', () => {
  it('stalls for a fault and its further pages, once, and pays table walks as work', () => {
    const made = guest('iopf:premap=8', 64);
    made.access(RAM_IOVA, 8, WRITE);
    expect(made.counters.faults).toBe(1);
    expect(made.stallUs).toBeCloseTo(minor + 7 * costs.extraPage, 9);
    // Eight pages were new to the cache; the ninth access is not.
    made.access(RAM_IOVA + 7, 1, READ);
    expect(made.workUs).toBeCloseTo(9 * costs.iotlbMiss, 9);
    expect(made.now).toBeCloseTo(made.stallUs + made.workUs, 9);
    made.end();
    expect(made.neverUsed).toBe(0);
  });

  it('loses what it gives back, at the cost of an invalidation, and pages that nobody used count as never used', () => {
    const made = guest('iopf:premap=8', 64);
    made.access(RAM_IOVA, 3, WRITE);
    made.giveBack(2, 4);
    expect(made.counters).toMatchObject({
      invalidations: 1,
      pagesInvalidated: 4,
      residentPages: 4,
    });
    expect(made.neverUsed).toBe(3);
    expect(made.now).toBeCloseTo(made.stallUs + made.workUs + costs.invalidate, 9);
    made.end();
    expect(made.neverUsed).toBe(5);
  });

  it('sends the page to swap that was used longest ago, by the device or the program', () => {
    // Four pages of memory; one is the process’s own.
    const made = guest('iopf:memory=16K', 64);
    made.access(RAM_IOVA, 3, WRITE);
    made.access(RAM_IOVA, 1, WRITE);
    made.touchMemory(1, 1);
    made.access(RAM_IOVA + 3, 1, WRITE);
    expect([0, 1, 2, 3].map((page) => made.isMapped(RAM_IOVA + page, 1))).toEqual([
      true,
      true,
      false,
      true,
    ]);
    const before = made.stallUs;
    made.access(RAM_IOVA + 2, 1, WRITE);
    expect(made.stallUs - before).toBeCloseTo(minor + costs.swapIn, 9);
    expect(made.isMapped(RAM_IOVA, 1)).toBe(false);
  });

  it('under static pays for pinning what it maps while it runs, which iopf does not, and both know that price', () => {
    const [pinned, iopf] = ['static', 'iopf'].map((policy) => {
      const made = guest(policy, 64);
      made.mapDma(16, 40, RAM_ADDRESS, READ);
      return made;
    });
    expect(pinned!.now).toBeCloseTo(40 * costs.pinPage, 9);
    expect(iopf!.now).toBe(0);
    expect(iopf!.pinnedRunUs).toBe(pinned!.pinnedRunUs);
    expect(pinned!.counters.pinnedPages).toBe(104);
  });

  it('keeps a mapping pinned that the program asks to be pinned (R7.2)', () => {
    const made = guest('iopf', 64);
    made.mapDma(16, 8, RAM_ADDRESS, READ | WRITE, true);
    expect(made.counters.pinnedPages).toBe(8);
    made.access(16, 8, WRITE);
    expect(made.counters.faults).toBe(0);
  });

  it('on a full host has its other pages sent to swap for what it pins, and for what it touches', () => {
    const full = (): TimedProgram => {
      const made = guest('iopf:memory=64K', 64);
      made.access(RAM_IOVA, 12, WRITE);
      made.access(RAM_IOVA, 2, WRITE);
      return made;
    };
    const pinning = full();
    pinning.mapDma(16, 8, RAM_ADDRESS + 32, WRITE, true);
    expect(pinning.counters.pinnedPages).toBe(8);
    const left = [0, 1, 2, 3, 10, 11].filter((page) => pinning.isMapped(RAM_IOVA + page, 1));
    expect(left).toEqual([0, 1, 10, 11]);

    const touching = full();
    touching.touchMemory(32, 16);
    expect(touching.isMapped(RAM_IOVA + 11, 1)).toBe(false);
    const before = touching.stallUs;
    touching.access(RAM_IOVA + 32, 1, WRITE);
    expect(touching.stallUs - before).toBeCloseTo(minor + costs.swapIn, 9);
  });

  it('counts the page requests that are refused', () => {
    const made = guest('iopf', 4);
    made.access(RAM_IOVA + 3, 1, WRITE);
    expect(made.refused).toBe(0);
    made.access(RAM_IOVA + 4, 1, WRITE);
    expect(made.refused).toBe(1);
    expect(made.counters.residentPages).toBe(1);
  });
});
