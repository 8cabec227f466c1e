/** `iopf plan`: how many hosts a fleet needs under each policy; the face of this folder. */
import { Random } from '../abi/random.js';
import type { JobOutcome, JobRunner } from '../jobs/job.js';
import { PAGE_SIZE } from '../mm/address-space.js';
import { type Curve, memoryAt } from '../sim/curve.js';
import { parsePolicy } from '../sim/policy.js';
import { makeCurves } from './curves.js';
import type { Fleet, MachineClass } from './fleet.js';
import { type Amounts, bestFit, firstFit, lowerBound, type Packing } from './packing.js';
import { curveJobs, fleetOf, type PlanQuestion } from './question.js';

export interface PlanRequest {
  readonly asked: PlanQuestion;
  /** Who makes the curves. */
  readonly runner: JobRunner;
  readonly cache: string | null;
  readonly version: string;
  readonly progress?: (done: number, total: number, what: string) => void;
}

/** A number of hosts over the trials. */
export interface HostCount {
  readonly mean: number;
  /** Of the mean, at 95 % confidence. */
  readonly low: number;
  readonly high: number;
  readonly most: number;
}

export interface ClassNeed {
  readonly name: string;
  readonly count: number;
  readonly mappedBytes: number;
  /** Of one machine, at its busiest; null: no memory keeps it within the bound. */
  readonly bytes: number | null;
  /** With all memory, at the percentile; null: the policy cannot run it. */
  readonly leastSlowdownPercent: number | null;
}

export interface PolicyPlan {
  readonly policy: string;
  readonly classes: readonly ClassNeed[];
  /** Null: there is no plan. */
  readonly lowerBound: number | null;
  readonly firstFit: HostCount | null;
  readonly bestFit: HostCount | null;
  /** Of the best fit of the first trial: machines of a host by class, the most frequent host. */
  readonly typicalHost: Readonly<Record<string, number>> | null;
  readonly memoryUsedPercent: number | null;
  readonly bill: {
    readonly hosts: number;
    readonly memoryBytes: number;
    readonly price: number | null;
  } | null;
  readonly why: string | null;
}

export interface PlannedCurve {
  readonly name: string;
  readonly policy: string;
  readonly seed: number;
  readonly points: Curve['points'];
}

export interface Plan {
  readonly fleet: string;
  readonly model: string;
  readonly machines: number;
  readonly slowdownBoundPercent: number;
  readonly percentile: number;
  readonly seed: number;
  readonly trials: number;
  readonly policies: readonly PolicyPlan[];
  readonly curves: readonly PlannedCurve[];
}

const CONFIDENCE = 1.96;

/** Throws UserError. */
export async function plan(request: PlanRequest): Promise<Plan> {
  const { path, seed } = request.asked;
  const fleet = fleetOf(request.asked);
  const jobs = curveJobs(fleet, request.asked);
  const outcomes = await makeCurves({ ...request, jobs });
  const policies = fleet.policies.map((policy) => {
    const own = fleet.classes.map(({ name }) =>
      outcomes.filter((_, index) => jobs[index]!.policy === policy && jobs[index]!.name === name),
    );
    return policyPlan(fleet, policy, own, seed);
  });
  return {
    fleet: path,
    model: fleet.model,
    machines: fleet.classes.reduce((sum, { count }) => sum + count, 0),
    slowdownBoundPercent: fleet.slowdownBound,
    percentile: fleet.percentile,
    seed,
    trials: fleet.trials,
    policies,
    curves: jobs.flatMap(({ name, policy, seed: own }, index) => {
      const outcome = outcomes[index]!;
      return outcome.kind === 'done'
        ? [{ name, policy, seed: own, points: outcome.result.points }]
        : [];
    }),
  };
}

function policyPlan(
  fleet: Fleet,
  policy: string,
  outcomes: readonly (readonly JobOutcome<Curve>[])[],
  seed: number,
): PolicyPlan {
  const classes = fleet.classes.map((each, index) =>
    needOf(
      fleet,
      each,
      outcomes[index]!.flatMap((each) => (each.kind === 'done' ? [each.result] : [])),
    ),
  );
  const none = {
    policy,
    classes,
    lowerBound: null,
    firstFit: null,
    bestFit: null,
    typicalHost: null,
    memoryUsedPercent: null,
    bill: null,
  };
  for (const [index, { name }] of fleet.classes.entries()) {
    const failed = outcomes[index]!.find(({ kind }) => kind === 'failed');
    if (failed?.kind === 'failed')
      return { ...none, why: `no curve of ${name}: ${failed.message}` };
  }
  const room = fleet.host.memory - fleet.host.reserved;
  for (const { bytes, leastSlowdownPercent, name } of classes) {
    if (leastSlowdownPercent === null) return { ...none, why: `cannot run ${name}` };
    if (bytes === null)
      return {
        ...none,
        why: `${name} is slowed down by ${leastSlowdownPercent} % with all memory`,
      };
    if (bytes > room) return { ...none, why: `a machine of ${name} is larger than a host` };
  }
  for (const { cores, name } of fleet.classes)
    if (fleet.host.cores !== undefined && cores > fleet.host.cores)
      return { ...none, why: `a machine of ${name} has more cores than a host` };
  return { ...none, ...packed(fleet, parsePolicy(policy).pinned, classes, seed), why: null };
}

function needOf(fleet: Fleet, { count, name }: MachineClass, curves: readonly Curve[]): ClassNeed {
  const share = fleet.percentile / 100;
  const noSwap = fleet.host.swap === 'none';
  const bytes = curves.map((curve) => {
    const least = memoryAt(curve, fleet.slowdownBound);
    // Without swap nothing can leave.
    return least === null ? Number.POSITIVE_INFINITY : noSwap ? curve.peakBytes : least;
  });
  const slowdowns = curves.map(
    ({ points }) => points[0]?.slowdownPercent ?? Number.POSITIVE_INFINITY,
  );
  const need = quantile(bytes, share);
  const slowdown = quantile(slowdowns, share);
  return {
    name,
    count,
    mappedBytes: Math.max(0, ...curves.map(({ mappedBytes }) => mappedBytes)),
    bytes: need === Number.POSITIVE_INFINITY ? null : need,
    leastSlowdownPercent: slowdown === Number.POSITIVE_INFINITY ? null : slowdown,
  };
}

/** The least value that so large a share does not exceed; of none, infinity. */
function quantile(values: readonly number[], share: number): number {
  if (values.length === 0) return Number.POSITIVE_INFINITY;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
}

/** Types are classes at each shift of their day. */
interface Type {
  readonly of: MachineClass;
  readonly demand: Amounts;
}

function packed(fleet: Fleet, pinned: boolean, needs: readonly ClassNeed[], seed: number) {
  const { host } = fleet;
  const parts = Math.max(...fleet.classes.map(({ day }) => day?.length ?? 1));
  const pagesOf = (bytes: number): number => Math.ceil(bytes / PAGE_SIZE);
  const types = fleet.classes.flatMap((of, index) =>
    Array.from({ length: of.shifts }, (_, shift): Type => {
      const pages = pagesOf(needs[index]!.bytes!);
      const memory = Array.from({ length: parts }, (_, part) => {
        // What is pinned stays, whatever the machine does.
        const load = pinned ? 1 : (of.day?.[(part + shift) % parts] ?? 1);
        return Math.ceil(pages * load);
      });
      return { of, demand: [host.cores === undefined ? 0 : of.cores, ...memory] };
    }),
  );
  const demands = types.map(({ demand }) => demand);
  const room = Math.floor((host.memory - host.reserved) / PAGE_SIZE);
  const capacity = [host.cores ?? 1, ...Array.from({ length: parts }, () => room)];
  const bounds: number[] = [];
  const first: number[] = [];
  const best: number[] = [];
  let sample: Packing | null = null;
  for (let trial = 0; trial < fleet.trials; trial++) {
    const order = arrivals(fleet, new Random(seed + trial));
    const counts = new Array<number>(types.length).fill(0);
    for (const type of order) counts[type]!++;
    bounds.push(lowerBound(demands, counts, capacity));
    first.push(firstFit(demands, order, capacity).hosts);
    const packing = bestFit(demands, order, capacity);
    best.push(packing.hosts);
    sample ??= packing;
  }
  const bestFitHosts = countOf(best);
  const hosts = Math.min(bestFitHosts.most, Math.max(...first));
  const wanted = needs.reduce((sum, { bytes, count }) => sum + count * pagesOf(bytes!), 0);
  return {
    lowerBound: Math.min(...bounds),
    firstFit: countOf(first),
    bestFit: bestFitHosts,
    typicalHost: typicalHost(sample!, types),
    memoryUsedPercent: Number(((100 * wanted) / (hosts * room)).toFixed(1)),
    bill: {
      hosts,
      memoryBytes: hosts * host.memory,
      price: host.price === undefined ? null : hosts * host.price,
    },
  };
}

/** The types of all machines, in an order at random. */
function arrivals({ classes }: Fleet, random: Random): Uint8Array {
  const order = new Uint8Array(classes.reduce((sum, { count }) => sum + count, 0));
  let at = 0;
  let type = 0;
  for (const { count, shifts } of classes) {
    for (let i = 0; i < count; i++) order[at++] = type + (shifts === 1 ? 0 : random.below(shifts));
    type += shifts;
  }
  for (let last = order.length - 1; last > 0; last--) {
    const other = random.below(last + 1);
    const moved = order[last]!;
    order[last] = order[other]!;
    order[other] = moved;
  }
  return order;
}

function countOf(values: readonly number[]): HostCount {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const error =
    values.length < 2 ? 0 : CONFIDENCE * Math.sqrt(squares / (values.length - 1) / values.length);
  const rounded = (value: number): number => Number(value.toFixed(2));
  return {
    mean: rounded(mean),
    low: rounded(mean - error),
    high: rounded(mean + error),
    most: Math.max(...values),
  };
}

function typicalHost({ counts, hosts }: Packing, types: readonly Type[]): Record<string, number> {
  const seen = new Map<string, number>();
  let best = '';
  for (let host = 0; host < hosts; host++) {
    const by: Record<string, number> = {};
    for (const [type, { of }] of types.entries()) {
      const count = counts[host * types.length + type]!;
      if (count > 0) by[of.name] = (by[of.name] ?? 0) + count;
    }
    const key = JSON.stringify(by);
    const times = (seen.get(key) ?? 0) + 1;
    seen.set(key, times);
    if (best === '' || times > seen.get(best)!) best = key;
  }
  return JSON.parse(best) as Record<string, number>;
}
