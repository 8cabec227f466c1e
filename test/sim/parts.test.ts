import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { READ, WRITE } from '../../src/mm/address-space.js';
import { HostMemory } from '../../src/sim/host-memory.js';
import { readModel } from '../../src/sim/input.js';
import { PageSet } from '../../src/sim/page-set.js';
import { parsePolicy } from '../../src/sim/policy.js';
import { RAM_ADDRESS, RAM_IOVA, TimedProgram } from '../../src/sim/timed-program.js';

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
      fc.integer({ min: 0, max: 100 }),
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
            let removed = 0;
            for (let i = 0; i < count; i++) if (model.delete(at + i)) removed++;
            expect(pages.deleteRange(at, count)).toBe(removed);
          }
          expect(pages.size).toBe(model.size);
          expect(pages.has(at)).toBe(model.has(at));
        }
      }),
    );
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
});
