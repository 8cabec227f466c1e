/** One run: an input under a policy, in virtual time. */
import { Errno, VfioError } from '../abi/errno.js';
import { Random } from '../abi/random.js';
import { LATENCY_BUCKET_NAMES } from '../iommu/latency.js';
import type { Observer } from '../iommu/observer.js';
import { PAGE_SIZE } from '../mm/address-space.js';
import { AddressMap, type AddressMapData } from '../trace/address-map.js';
import type { TimelineStep } from '../trace/timeline.js';
import type { CostModel } from './cost-model.js';
import { HostMemory, TooLarge } from './host-memory.js';
import type { Policy } from './policy.js';
import { TimedProgram } from './timed-program.js';
import type { Workload } from './workload.js';

/** What `--json` has of a run; what each is: docs/compare.md. */
export interface RunRow {
  readonly input: string;
  readonly policy: string;
  readonly model: string;
  readonly seed: number;
  readonly mappedBytesPeak: number;
  readonly pinnedBytesPeak: number;
  readonly residentBytesPeak: number;
  readonly residentBytesMean: number;
  readonly faults: number;
  readonly pagesFaultedIn: number;
  readonly pagesNeverUsed: number;
  readonly stallSeconds: number;
  readonly slowdownPercent: number;
  readonly rampSeconds: number;
  readonly invalidations: number;
}

/** Of one machine, in microseconds. */
export interface MachineTime {
  /** Not idle. */
  readonly busy: number;
  /** What that is where all of its memory is pinned, and there is enough. */
  readonly pinned: number;
}

export interface RunDetail {
  /** Of the first guest. */
  readonly timeline: readonly TimelineStep[];
  readonly map: AddressMapData | null;
  readonly latency: Readonly<Record<string, number>>;
  /** Accesses to pages. */
  readonly accesses: number;
  /** In the order of the workloads. */
  readonly machines: readonly MachineTime[];
  readonly seconds: number;
  /** Page requests that were refused. */
  readonly refused: number;
  /** The most memory of the host that was in use, in bytes. */
  readonly hostBytesPeak: number;
}

export type RunOutcome =
  | { readonly kind: 'done'; readonly row: RunRow; readonly detail: RunDetail }
  /** The policy cannot run this input: why. */
  | {
      readonly kind: 'impossible';
      readonly input: string;
      readonly policy: string;
      readonly why: string;
    };

export interface RunRequest {
  readonly input: string;
  readonly workloads: readonly Workload[];
  readonly policy: Policy;
  readonly model: CostModel;
  readonly seed: number;
  /** What workloads are known to use at least, in pages of the host, however little there is. */
  readonly usedPages?: number;
  /** Also draws the address × time map of the first guest. */
  readonly withMap?: boolean;
  /** Told now and then which share of the run is done, 0 to 1. */
  readonly progress?: (share: number) => void;
  /** Told what the engine does; gets the clock. */
  readonly observe?: (nowUs: () => number) => Observer;
}

/** Steps of workloads between two looks at how far they are. */
const LOOK_EVERY = 256;
const SEED_STEP = 0x9e3779b1;

export function runOnce(request: RunRequest): RunOutcome {
  const { policy, model, seed } = request;
  // Whoever watches wants to see every page of it.
  const countsPins = policy.pinned && request.observe === undefined;
  const host = new HostMemory(policy.memoryBytes, countsPins, request.workloads.length);
  const guests = request.workloads.map((_, index): TimedProgram => {
    const observer = request.observe?.(() => guests[index]!.now) ?? null;
    const addresses = request.withMap === true && index === 0 ? new AddressMap() : null;
    return new TimedProgram(host, policy, model.costs, index + 1, observer, addresses);
  });
  const flows = request.workloads.map((workload, index) =>
    workload(guests[index]!, new Random(seed + Math.imul(index, SEED_STEP))),
  );
  let residentPeak = 0;
  let steps = 0;
  try {
    let live = guests.map((_, index) => index);
    while (live.length > 0) {
      let next = live[0]!;
      for (const index of live) if (guests[index]!.now < guests[next]!.now) next = index;
      if (flows[next]!.next().done === true) {
        live = live.filter((index) => index !== next);
        guests[next]!.share = 1;
      }
      // When all have mapped their memory: what cannot be pinned has been refused by then.
      host.checkSize(++steps === guests.length ? request.usedPages : 0);
      if (steps % LOOK_EVERY === 0)
        request.progress?.(total(guests, ({ share }) => share) / guests.length);
      if (guests.length > 1)
        residentPeak = Math.max(
          residentPeak,
          total(guests, (guest) => guest.counters.residentPages),
        );
    }
  } catch (error) {
    if (error instanceof TooLarge)
      return { kind: 'impossible', input: request.input, policy: policy.name, why: error.message };
    if (!(error instanceof VfioError)) throw error;
    const why =
      error.errno === Errno.ENOMEM
        ? 'the memory of the host does not hold what must be pinned (VFIO_IOMMU_MAP_DMA: ENOMEM)'
        : `a call of VFIO failed with ${error}`;
    return { kind: 'impossible', input: request.input, policy: policy.name, why };
  }
  for (const guest of guests) guest.end();
  if (guests.length === 1) residentPeak = guests[0]!.counters.residentPagesPeak;
  return {
    kind: 'done',
    row: rowOf(request, guests, residentPeak),
    detail: detailOf(guests, host),
  };
}

function rowOf(
  { input, policy, model, seed }: RunRequest,
  guests: readonly TimedProgram[],
  residentPeak: number,
): RunRow {
  const elapsed = Math.max(...guests.map((guest) => guest.elapsedUs));
  const sum = (of: (guest: TimedProgram) => number): number => total(guests, of);
  return {
    input,
    policy: policy.name,
    model: model.name,
    seed,
    mappedBytesPeak: sum(({ counters }) => counters.mappedPagesPeak) * PAGE_SIZE,
    pinnedBytesPeak: sum(({ counters }) => counters.pinnedPagesPeak) * PAGE_SIZE,
    residentBytesPeak: residentPeak * PAGE_SIZE,
    residentBytesMean:
      elapsed === 0 ? 0 : Math.round((sum(({ residentUs }) => residentUs) / elapsed) * PAGE_SIZE),
    faults: sum(({ counters }) => counters.faults),
    pagesFaultedIn: sum(({ counters }) => counters.pagesFaultedIn + counters.pagesPremapped),
    pagesNeverUsed: sum(({ neverUsed }) => neverUsed),
    stallSeconds: round(sum(({ stallUs }) => stallUs) / 1e6, 9),
    slowdownPercent: slowdownOf(guests.map(timeOf)),
    rampSeconds: round(Math.max(...guests.map((guest) => guest.timeline.rampUs)) / 1e6, 6),
    invalidations: sum(({ counters }) => counters.invalidations),
  };
}

function detailOf(guests: readonly TimedProgram[], host: HostMemory): RunDetail {
  const buckets = LATENCY_BUCKET_NAMES.map((name, index) => [
    name,
    total(guests, ({ counters }) => counters.faultLatency.buckets[index]!),
  ]);
  return {
    timeline: guests[0]!.timeline.steps,
    map: guests[0]!.addresses?.data ?? null,
    latency: Object.fromEntries(buckets) as Record<string, number>,
    accesses: total(guests, ({ accesses }) => accesses),
    machines: guests.map(timeOf),
    seconds: Math.max(...guests.map((guest) => guest.elapsedUs)) / 1e6,
    refused: total(guests, ({ refused }) => refused),
    hostBytesPeak: host.peakPages * PAGE_SIZE,
  };
}

const timeOf = ({ elapsedUs, idleUs, pinnedRunUs }: TimedProgram): MachineTime => ({
  busy: elapsedUs - idleUs,
  pinned: pinnedRunUs,
});

/** Of machines together, in percent. */
export function slowdownOf(times: readonly MachineTime[]): number {
  let [busy, pinned] = [0, 0];
  for (const time of times) {
    busy += time.busy;
    pinned += time.pinned;
  }
  return busy === 0 ? 0 : round(100 * (1 - pinned / busy), 3);
}

function total(guests: readonly TimedProgram[], of: (guest: TimedProgram) => number): number {
  let sum = 0;
  for (const guest of guests) sum += of(guest);
  return sum;
}

function round(value: number, digits: number): number {
  // Not -0.
  return Number(value.toFixed(digits)) + 0;
}
