/**
 * What a machine makes of less memory: its *curve*, the slowdown by the memory of the host that it
 * has to itself, page by page on the shipped engine.
 */
import { pagesUp } from '../mm/address-space.js';
import { type RunRequest, runOnce } from './run.js';
import type { Workload } from './workload.js';

export interface CurvePoint {
  readonly memoryBytes: number;
  readonly slowdownPercent: number;
  readonly faults: number;
}

export interface Curve {
  /** The most that is mapped for DMA: what static pinning needs. */
  readonly mappedBytes: number;
  /** The most that it uses where there is enough. */
  readonly peakBytes: number;
  /** From the most memory to the least; slowdowns never fall. Empty: the policy cannot run it. */
  readonly points: readonly CurvePoint[];
  readonly why: string | null;
}

/** Sixteenths of the peak at which a curve is measured. */
const SIXTEENTHS = [16, 15, 14, 13, 12, 10, 8, 6, 4, 3, 2, 1];

/**
 * `request.workloads` is not used. Measured until the slowdown is above `worstPercent`: every
 * further point takes longer. `progress` is told the share of all points.
 */
export function curveOf(
  request: Omit<RunRequest, 'workloads'>,
  workload: () => Workload,
  worstPercent: number,
): Curve {
  const run = (memoryBytes: number | null) =>
    runOnce({ ...request, workloads: [workload()], policy: { ...request.policy, memoryBytes } });
  const free = run(null);
  if (free.kind !== 'done') return { mappedBytes: 0, peakBytes: 0, points: [], why: free.why };
  const { mappedBytesPeak: mappedBytes, slowdownPercent, faults } = free.row;
  const peakBytes = free.detail.hostBytesPeak;
  const points: CurvePoint[] = [{ memoryBytes: peakBytes, slowdownPercent, faults }];
  for (const [index, part] of SIXTEENTHS.entries()) {
    request.progress?.(index / SIXTEENTHS.length);
    // Pinned memory cannot be less, and what fits fits as before.
    if (request.policy.pinned || part === 16) continue;
    if (points.at(-1)!.slowdownPercent > worstPercent) break;
    const memoryBytes = pagesUp((peakBytes * part) / 16);
    const outcome = run(memoryBytes);
    if (outcome.kind !== 'done' || outcome.detail.refused > free.detail.refused) break;
    const before = points.at(-1)!.slowdownPercent;
    points.push({
      memoryBytes,
      slowdownPercent: Math.max(before, outcome.row.slowdownPercent),
      faults: outcome.row.faults,
    });
  }
  return { mappedBytes, peakBytes, points, why: null };
}

/** Curves end at this slowdown, or at so many times the bound. */
const WORST_PERCENT = 90;
const CURVE_BOUNDS = 3;

/** The slowdown at which a curve ends that is to be read at a bound, in percent. */
export const curveEnd = (boundPercent: number): number =>
  Math.min(WORST_PERCENT, CURVE_BOUNDS * boundPercent);

/**
 * The least memory with which a slowdown stays within a bound, between the points on a straight
 * line; null: none does.
 */
export function memoryAt({ points }: Curve, boundPercent: number): number | null {
  let least: number | null = null;
  for (const [index, { memoryBytes, slowdownPercent }] of points.entries()) {
    if (slowdownPercent <= boundPercent) {
      least = memoryBytes;
      continue;
    }
    const within = points[index - 1];
    if (within === undefined) break;
    const share =
      (boundPercent - within.slowdownPercent) / (slowdownPercent - within.slowdownPercent);
    return Math.ceil(within.memoryBytes - share * (within.memoryBytes - memoryBytes));
  }
  return least;
}

/** Machines of one kind on a host. */
export interface Share {
  readonly curve: Curve;
  readonly count: number;
}

/**
 * The least slowdown at which machines fit into a host's memory, all slowed down alike; null: they
 * do not, however slow.
 */
export function slowdownOn(shares: readonly Share[], hostBytes: number): number | null {
  const needed = (percent: number): number => {
    let sum = 0;
    for (const { curve, count } of shares)
      sum += count * (memoryAt(curve, percent) ?? Number.POSITIVE_INFINITY);
    return sum;
  };
  const steps = shares.flatMap(({ curve }) => curve.points.map((at) => at.slowdownPercent));
  let low = Math.max(...shares.map(({ curve }) => curve.points[0]?.slowdownPercent ?? 100));
  let high = Math.max(...steps, low);
  if (needed(high) > hostBytes) return null;
  if (needed(low) <= hostBytes) return low;
  for (let round = 0; round < HALVINGS; round++) {
    const middle = (low + high) / 2;
    if (needed(middle) <= hostBytes) high = middle;
    else low = middle;
  }
  return high;
}

const HALVINGS = 40;
