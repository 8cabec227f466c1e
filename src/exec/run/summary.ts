/** What a run was, in numbers; `--json` writes it as it is. Bytes count 4 KiB pages. */

import type { KernelVersion } from '../../abi/kernel.js';
import type { Injected } from '../../inject/plan.js';
import type { IopfMode } from '../../ioas/iopf/mode.js';
import { LATENCY_BUCKET_NAMES } from '../../iommu/latency.js';
import type { Counters } from '../../iommu/observer.js';
import { PAGE_SIZE } from '../../mm/address-space.js';
import type { FailedCallCount, IncidentCounts } from '../incidents/incident-log.js';
import type { ReclaimScan } from '../reclaim/reclaim-scan.js';
import type { ResidentMemorySummary } from '../reclaim/resident-memory.js';
import type { StallSummary } from './modelled-time.js';
import type { Verdict } from './verdict.js';

export interface FaultLatencySummary {
  /** Microseconds from a page request to its response. */
  readonly min: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  /** Faults by VT-d's debugfs buckets. */
  readonly buckets: Readonly<Record<string, number>>;
}

/** Calls on VFIO's files that failed in one way. */
export interface FailedCall {
  /** `ioctl(VFIO_IOMMU_MAP_DMA)`. */
  readonly call: string;
  /** `EEXIST`. */
  readonly error: string;
  readonly count: number;
}

/** What went wrong. */
export interface IncidentSummary extends Omit<IncidentCounts, 'failedCalls'> {
  readonly failedCalls: readonly FailedCall[];
}

/** What the engine counted. Calls are numbers: their names are loaded where one has failed. */
export interface EngineSummary
  extends ResidentMemorySummary,
    StallSummary,
    Omit<IncidentSummary, 'failedCalls'> {
  /** What became of each rule of `--inject`. */
  readonly injected: readonly Injected[];
  readonly failedCalls: readonly FailedCallCount[];
  readonly mappedBytesPeak: number;
  /** Mapped still when the program's last process exited; null: none did by itself. */
  readonly mappedBytesEnd: number | null;
  readonly pinnedBytesPeak: number;
  /** Peak of the pages present in I/O page tables. */
  readonly residentBytesPeak: number;
  readonly faults: number;
  readonly pagesFaultedIn: number;
  readonly pagesPremapped: number;
  readonly invalidations: number;
  readonly pagesInvalidated: number;
  /** Those of them that the host took, without a call of the program. */
  readonly pagesReclaimed: number;
  /**
   * How often `--reclaim-scan` looked at all pages in I/O page tables, and how long that took in
   * sum.
   */
  readonly reclaimScans: number;
  readonly reclaimScanSeconds: number;
  readonly dmaBytesRead: number;
  readonly dmaBytesWritten: number;
  readonly faultLatencyUs: FaultLatencySummary;
  readonly interceptedCalls: number;
  /** VFIO files that were opened, and those of them that are devices. */
  readonly vfioOpens: number;
  readonly deviceOpens: number;
  /** The program that opened one of them first: a shell's child, for example. */
  readonly vfioProgram: string | null;
}

/** A device of the run. */
export interface DeviceFact {
  readonly kind: string;
  readonly address: string;
  /** As they were given: `size: '64M'`. */
  readonly options: Readonly<Record<string, string>>;
}

/** What is known of a run at its end. */
export interface RunFacts extends Omit<EngineSummary, 'failedCalls'>, IncidentSummary {
  readonly program: string;
  /** The program's exit code; where a signal ended it, null. */
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly iopf: IopfMode;
  readonly premap: number;
  /** The Linux version whose VFIO ABI the program saw. */
  readonly kernel: KernelVersion;
  readonly devices: readonly DeviceFact[];
  /** The cost model of `--model`; null without it. */
  readonly model: string | null;
  /** Of `--inject`: the seed, and the command line that makes the same faults; null without it. */
  readonly seed: number | null;
  readonly again: string | null;
  readonly wallSeconds: number;
}

export interface RunSummary extends RunFacts, Verdict {}

export interface Counted {
  readonly files: {
    readonly opens: number;
    readonly deviceOpens: number;
    readonly firstUser: string | null;
  };
  readonly counters: Counters;
  readonly mappedPagesEnd: number | null;
  readonly interceptedCalls: number;
  readonly memory: ResidentMemorySummary;
  readonly scan: ReclaimScan | null;
  readonly incidents: IncidentCounts;
  readonly injected: readonly Injected[];
  readonly stall: StallSummary;
}

const round = (value: number): number => Math.round(value * 1000) / 1000;

/** What the engine's counters say. */
export type CounterSummary = Pick<
  EngineSummary,
  | 'mappedBytesPeak'
  | 'pinnedBytesPeak'
  | 'residentBytesPeak'
  | 'faults'
  | 'pagesFaultedIn'
  | 'pagesPremapped'
  | 'invalidations'
  | 'pagesInvalidated'
  | 'pagesReclaimed'
  | 'dmaBytesRead'
  | 'dmaBytesWritten'
  | 'faultLatencyUs'
>;

export function summarizeCounters(counters: Counters): CounterSummary {
  const latency = counters.faultLatency;
  return {
    mappedBytesPeak: counters.mappedPagesPeak * PAGE_SIZE,
    pinnedBytesPeak: counters.pinnedPagesPeak * PAGE_SIZE,
    residentBytesPeak: counters.residentPagesPeak * PAGE_SIZE,
    faults: counters.faults,
    pagesFaultedIn: counters.pagesFaultedIn,
    pagesPremapped: counters.pagesPremapped,
    invalidations: counters.invalidations,
    pagesInvalidated: counters.pagesInvalidated,
    pagesReclaimed: counters.pagesReclaimed,
    dmaBytesRead: counters.dmaBytesRead,
    dmaBytesWritten: counters.dmaBytesWritten,
    faultLatencyUs: {
      min: round(latency.min),
      p50: round(latency.percentile(0.5)),
      p99: round(latency.percentile(0.99)),
      max: round(latency.max),
      buckets: Object.fromEntries(
        LATENCY_BUCKET_NAMES.map((name, index) => [name, latency.buckets[index]!]),
      ),
    },
  };
}

export function summarize(counted: Counted): EngineSummary {
  const { counters, files, incidents, injected, interceptedCalls, mappedPagesEnd } = counted;
  const { memory, scan, stall } = counted;
  return {
    ...summarizeCounters(counters),
    mappedBytesEnd: mappedPagesEnd === null ? null : mappedPagesEnd * PAGE_SIZE,
    reclaimScans: scan?.scans ?? 0,
    reclaimScanSeconds: round(scan?.seconds ?? 0),
    ...memory,
    interceptedCalls,
    vfioOpens: files.opens,
    deviceOpens: files.deviceOpens,
    vfioProgram: files.firstUser,
    ...incidents,
    injected,
    ...stall,
  };
}
