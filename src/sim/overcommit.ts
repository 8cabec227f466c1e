/**
 * How much memory a host needs for several machines at an accepted slowdown, and how many machines
 * one of a given size takes.
 */
import { PAGE_SIZE, pagesUp } from '../mm/address-space.js';
import { type Curve, curveEnd, curveOf, memoryAt, type Share, slowdownOn } from './curve.js';
import { type MachineTime, type RunRequest, runOnce, slowdownOf } from './run.js';
import type { Workload } from './workload.js';

/** Machines of one kind. */
export interface MachineKind {
  readonly name: string;
  readonly count: number;
  /** Begins at `startUs`. */
  readonly workload: (startUs?: number) => Workload;
}

export interface OvercommitQuestion {
  readonly kinds: readonly MachineKind[];
  readonly boundPercent: number;
  /** Memory of the host; null: how much is needed is the question. */
  readonly hostBytes: number | null;
}

export interface FleetPoint {
  readonly vms: number;
  readonly slowdownPercent: number;
}

export interface OvercommitRow {
  readonly input: string;
  readonly policy: string;
  readonly model: string;
  readonly vms: number;
  readonly slowdownBoundPercent: number;
  /**
   * The least memory of the host that keeps within the bound, to a 256th of what is mapped; null:
   * none does.
   */
  readonly hostBytes: number | null;
  readonly slowdownPercent: number | null;
  /** `runs`: all machines ran together. `curves`: summed up from a machine of each kind. */
  readonly from: 'runs' | 'curves';
  /** Where none does: the slowdown with all memory; null: the policy cannot run. */
  readonly closestPercent?: number | null;
  /** On the host that was given: how many machines fit, in the proportion of the kinds. */
  readonly fits?: {
    readonly hostBytes: number;
    readonly vms: number;
    readonly slowdownPercent: number | null;
    /** Slowdown by the number of machines. */
    readonly curve: readonly FleetPoint[];
  };
}

const PARTS = 256;
/** What this takes against a run of all machines, about. */
export const OVERCOMMIT_RUNS = 5;
/** With more pages in use than this the curves decide: running all together takes too long. */
const RUN_MOST_BYTES = 8 * 2 ** 30;
/** Numbers of machines for which a slowdown is told. */
const FLEET_POINTS = 8;
const VMS_MOST = 1e6;

export function overcommit(request: RunRequest, question: OvercommitQuestion): OvercommitRow {
  const { kinds, boundPercent, hostBytes } = question;
  const curves = kinds.map((kind, index) =>
    curveOf(
      {
        ...request,
        withMap: false,
        progress: (share) => request.progress?.((index + share) / kinds.length / 2),
      },
      kind.workload,
      curveEnd(boundPercent),
    ),
  );
  const shares = kinds.map(({ count }, index): Share => ({ curve: curves[index]!, count }));
  const row = {
    input: request.input,
    policy: request.policy.name,
    model: request.model.name,
    vms: request.workloads.length,
    slowdownBoundPercent: boundPercent,
    ...leastMemory(request, shares, boundPercent),
  };
  return hostBytes === null ? row : { ...row, fits: fitsOn(shares, boundPercent, hostBytes) };
}

type Answer = Pick<OvercommitRow, 'hostBytes' | 'slowdownPercent' | 'from' | 'closestPercent'>;

function leastMemory(request: RunRequest, shares: readonly Share[], bound: number): Answer {
  const sum = (of: (curve: Curve) => number): number =>
    shares.reduce((total, { curve, count }) => total + count * of(curve), 0);
  const impossible = shares.some(({ curve }) => curve.points.length === 0);
  if (impossible)
    return { hostBytes: null, slowdownPercent: null, from: 'curves', closestPercent: null };
  // What is pinned needs all of it, and slows nothing down.
  if (request.policy.pinned)
    return { hostBytes: sum(({ mappedBytes }) => mappedBytes), slowdownPercent: 0, from: 'curves' };
  const needs = shares.map(({ curve }) => memoryAt(curve, bound));
  const estimate = needs.includes(null) ? null : sum((curve) => memoryAt(curve, bound)!);
  if (sum(({ peakBytes }) => peakBytes) > RUN_MOST_BYTES)
    return estimate === null
      ? { ...NONE, from: 'curves', closestPercent: closest(shares) }
      : { hostBytes: estimate, slowdownPercent: bound, from: 'curves' };
  return byRuns(
    request,
    shares,
    sum(({ mappedBytes }) => mappedBytes),
    estimate,
    bound,
  );
}

const NONE = { hostBytes: null, slowdownPercent: null } as const;

/** The slowdown with all memory that there is use for. */
function closest(shares: readonly Share[]): number {
  return Math.max(...shares.map(({ curve }) => curve.points[0]!.slowdownPercent));
}

/** Runs all machines together, from the curves' estimate on. */
function byRuns(
  request: RunRequest,
  shares: readonly Share[],
  mappedBytes: number,
  estimate: number | null,
  bound: number,
): Answer {
  /** What a process itself takes beside its memory for DMA. */
  const beside = request.workloads.length * PAGE_SIZE;
  let runs = 0;
  const slowdowns = new Map<number, number>();
  const slowdownAt = (parts: number): number => {
    const known = slowdowns.get(parts);
    if (known !== undefined) return known;
    const memoryBytes = pagesUp((mappedBytes * parts) / PARTS) + beside;
    const done = runs++;
    const outcome = runOnce({
      ...request,
      policy: { ...request.policy, memoryBytes },
      progress: (share) =>
        request.progress?.(Math.min(1, 0.5 + (done + share) / OVERCOMMIT_RUNS / 2)),
    });
    const usable = outcome.kind === 'done' && outcome.detail.refused === 0;
    const slowdown = usable ? worstKind(shares, outcome.detail.machines) : Number.POSITIVE_INFINITY;
    slowdowns.set(parts, slowdown);
    return slowdown;
  };
  const most = slowdownAt(PARTS);
  if (most > bound)
    return {
      ...NONE,
      from: 'runs',
      closestPercent: most === Number.POSITIVE_INFINITY ? null : most,
    };
  // Widen around the estimate until one side is too little and the other enough, and halve that.
  const middle = Math.min(PARTS, Math.max(1, Math.ceil(((estimate ?? 0) * PARTS) / mappedBytes)));
  let tooLittle = 0;
  let enough = PARTS;
  for (let step = 1, at = middle; enough - tooLittle > 1; step *= 2) {
    const isEnough = slowdownAt(at) <= bound;
    if (isEnough) enough = Math.min(enough, at);
    else tooLittle = Math.max(tooLittle, at);
    const bracketed = enough < PARTS && tooLittle > 0;
    at = bracketed ? (enough + tooLittle) >>> 1 : isEnough ? at - step : at + step;
    if (at <= tooLittle || at >= enough) at = (enough + tooLittle) >>> 1;
  }
  return {
    hostBytes: Math.ceil((mappedBytes * enough) / PARTS),
    slowdownPercent: slowdownAt(enough),
    from: 'runs',
  };
}

/** The slowdown of the kind that has most: a long run of one must not hide what others suffer. */
function worstKind(shares: readonly Share[], times: readonly MachineTime[]): number {
  let end = 0;
  const slowdowns = shares.map(({ count }) => {
    end += count;
    return slowdownOf(times.slice(end - count, end));
  });
  return Math.max(...slowdowns);
}

/** How many machines fit, by the curves. */
function fitsOn(
  shares: readonly Share[],
  bound: number,
  hostBytes: number,
): NonNullable<OvercommitRow['fits']> {
  const slowdownWith = (vms: number): number | null =>
    slowdownOn(apportioned(shares, vms), hostBytes);
  const within = (vms: number): boolean => {
    const slowdown = slowdownWith(vms);
    return slowdown !== null && slowdown <= bound;
  };
  const vms = mostThat(within);
  const last = mostThat((count) => slowdownWith(count) !== null);
  const curve: FleetPoint[] = [];
  const seen = new Set<number>();
  for (let point = 1; point <= FLEET_POINTS; point++) {
    const count = Math.ceil((last * point) / FLEET_POINTS);
    if (count === 0 || seen.has(count)) continue;
    seen.add(count);
    curve.push({ vms: count, slowdownPercent: rounded(slowdownWith(count)!) });
  }
  const slowdown = vms === 0 ? null : slowdownWith(vms)!;
  return {
    hostBytes,
    vms,
    slowdownPercent: slowdown === null ? null : rounded(slowdown),
    curve,
  };
}

/** The largest number for which something holds that holds for all smaller ones. */
function mostThat(holds: (count: number) => boolean): number {
  let low = 0;
  let high = 1;
  while (high < VMS_MOST && holds(high)) {
    low = high;
    high *= 2;
  }
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (holds(middle)) low = middle;
    else high = middle;
  }
  return low;
}

/** So many machines in the proportion of their kinds; the largest remainders get the rest. */
function apportioned(shares: readonly Share[], vms: number): Share[] {
  const all = shares.reduce((sum, { count }) => sum + count, 0);
  const exact = shares.map(({ count }) => (count * vms) / all);
  const counts = exact.map(Math.floor);
  const order = exact
    .map((value, index) => ({ index, rest: value - counts[index]! }))
    .sort((a, b) => b.rest - a.rest || a.index - b.index);
  const left = vms - counts.reduce((sum, count) => sum + count, 0);
  for (const { index } of order.slice(0, left)) counts[index]!++;
  return shares.map(({ curve }, index) => ({ curve, count: counts[index]! }));
}

function rounded(percent: number): number {
  return Number(percent.toFixed(3)) + 0;
}
