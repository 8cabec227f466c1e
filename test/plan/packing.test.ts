import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UserError } from '../../src/input/user-error.js';
import { type Amounts, bestFit, firstFit, lowerBound } from '../../src/plan/packing.js';

/** Tries every host for every machine: the fewest hosts. */
function exact(demands: readonly Amounts[], order: Uint8Array, capacity: Amounts): number {
  let best = order.length;
  const free: number[][] = [];
  const place = (at: number): void => {
    if (free.length >= best) return;
    if (at === order.length) {
      best = free.length;
      return;
    }
    const demand = demands[order[at]!]!;
    const take = (host: number[], sign: number): void => {
      for (let i = 0; i < host.length; i++) host[i]! -= sign * demand[i]!;
    };
    for (const host of [...free]) {
      if (demand.some((amount, i) => amount > host[i]!)) continue;
      take(host, 1);
      place(at + 1);
      take(host, -1);
    }
    const host = [...capacity];
    free.push(host);
    take(host, 1);
    place(at + 1);
    free.pop();
  };
  place(0);
  return best;
}

/** What a list of machines needs host by host, from the slow and plain rule. */
function plainly(
  demands: readonly Amounts[],
  order: Uint8Array,
  capacity: Amounts,
  choose: (fitting: readonly number[][]) => number[],
): number {
  const hosts: number[][] = [];
  for (const type of order) {
    const demand = demands[type]!;
    const fitting = hosts.filter((host) => host.every((free, i) => free >= demand[i]!));
    const host = fitting.length > 0 ? choose(fitting) : [...capacity];
    if (fitting.length === 0) hosts.push(host);
    for (let i = 0; i < host.length; i++) host[i]! -= demand[i]!;
  }
  return hosts.length;
}

const leastLeft = (fitting: readonly number[][]): number[] => {
  const left = (host: readonly number[]): number => Math.min(...host.slice(1));
  return fitting.reduce((best, host) => (left(host) < left(best) ? host : best));
};

const cases = fc.integer({ min: 1, max: 3 }).chain((parts) =>
  fc.record({
    demands: fc.array(
      fc.array(fc.integer({ min: 0, max: 10 }), { minLength: parts + 1, maxLength: parts + 1 }),
      { minLength: 1, maxLength: 4 },
    ),
    picks: fc.array(fc.nat(), { minLength: 1, maxLength: 8 }),
    capacity: fc.array(fc.integer({ min: 10, max: 20 }), {
      minLength: parts + 1,
      maxLength: parts + 1,
    }),
  }),
);

describe('packing', () => {
  it('is never better than the bound, which is never above the fewest hosts there can be', () => {
    fc.assert(
      fc.property(cases, ({ capacity, demands, picks }) => {
        const order = Uint8Array.from(picks, (pick) => pick % demands.length);
        const counts = demands.map((_, type) => order.filter((each) => each === type).length);
        const fewest = exact(demands, order, capacity);
        const bound = lowerBound(demands, counts, capacity);
        const [first, best] = [firstFit, bestFit].map(
          (pack) => pack(demands, order, capacity).hosts,
        );
        expect(bound).toBeLessThanOrEqual(fewest);
        expect(first).toBeGreaterThanOrEqual(fewest);
        expect(best).toBeGreaterThanOrEqual(fewest);
        // Garey, Graham, Johnson and Yao: first fit in d dimensions takes (d + 7/10) as many.
        expect(first).toBeLessThanOrEqual((capacity.length + 0.7) * fewest + 2);
      }),
    );
  });

  it('in one dimension by first fit takes at most 17/10 of the fewest hosts', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 10 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(sizes, (wanted) => {
        const demands = wanted.map((size) => [0, size]);
        const order = Uint8Array.from(wanted.keys());
        const fewest = exact(demands, order, [1, 10]);
        // Dosa and Sgall: without an additive constant.
        expect(firstFit(demands, order, [1, 10]).hosts).toBeLessThanOrEqual(
          Math.floor(1.7 * fewest),
        );
      }),
    );
  });

  it('comes to what the plain rules come to, and places every machine', () => {
    fc.assert(
      fc.property(cases, ({ capacity, demands, picks }) => {
        const order = Uint8Array.from(picks, (pick) => pick % demands.length);
        const first = firstFit(demands, order, capacity);
        const best = bestFit(demands, order, capacity);
        expect(first.hosts).toBe(plainly(demands, order, capacity, ([host]) => host!));
        expect(best.hosts).toBe(plainly(demands, order, capacity, leastLeft));
        for (const { counts } of [first, best])
          expect(counts.reduce((sum, count) => sum + count, 0)).toBe(order.length);
      }),
    );
  });

  it('of a machine that is larger than a host is refused', () => {
    expect(() => firstFit([[1, 11]], Uint8Array.of(0), [1, 10])).toThrow(UserError);
  });
});
