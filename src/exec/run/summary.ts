/** What a run was, in numbers; `--json` writes it as it is. Bytes count 4 KiB pages. */

import type { KernelVersion } from '../../abi/kernel.js';
import { printable } from '../../input/printable.js';
import { formatSize } from '../../input/size.js';
import type { IopfMode } from '../../ioas/iopf/mode.js';
import { LATENCY_BUCKET_NAMES } from '../../iommu/latency.js';
import type { Counters } from '../../iommu/observer.js';
import { PAGE_SIZE } from '../../mm/address-space.js';
import type { ReclaimScan } from '../reclaim/reclaim-scan.js';
import type { ResidentMemorySummary } from '../reclaim/resident-memory.js';

export interface FaultLatencySummary {
  /** Microseconds from a page request to its response. */
  readonly min: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  /** Faults by VT-d's debugfs buckets. */
  readonly buckets: Readonly<Record<string, number>>;
}

/** What the engine counted. */
export interface EngineSummary extends ResidentMemorySummary {
  readonly mappedBytesPeak: number;
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
}

export interface RunSummary extends EngineSummary {
  readonly program: string;
  /** The program's exit code; where a signal ended it, null. */
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly iopf: IopfMode;
  readonly premap: number;
  /** The Linux version whose VFIO ABI the program saw. */
  readonly kernel: KernelVersion;
  readonly wallSeconds: number;
}

export function summarize(
  counters: Counters,
  interceptedCalls: number,
  memory: ResidentMemorySummary,
  scan: ReclaimScan | null,
): EngineSummary {
  const latency = counters.faultLatency;
  const round = (value: number): number => Math.round(value * 1000) / 1000;
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
    reclaimScans: scan?.scans ?? 0,
    reclaimScanSeconds: round(scan?.seconds ?? 0),
    ...memory,
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
    interceptedCalls,
  };
}

/** `exit code 0`, `killed by SIGTERM`. */
export function howItEnded({ exitCode, signal }: RunSummary): string {
  return signal === null ? `exit code ${exitCode}` : `killed by ${signal}`;
}

/** The summary for people. */
export function formatSummary(run: RunSummary): string {
  const share = run.mappedBytesPeak === 0 ? 0 : (100 * run.residentBytesPeak) / run.mappedBytesPeak;
  const latency = run.faultLatencyUs;
  const lines: [string, string][] = [
    [
      'mapped for DMA',
      `${formatSize(run.mappedBytesPeak)} at the peak: what static pinning would have pinned`,
    ],
    ['pinned', `${formatSize(run.pinnedBytesPeak)} at the peak`],
    [
      'in I/O page tables',
      `${formatSize(run.residentBytesPeak)} at the peak (${share.toFixed(share < 10 ? 1 : 0)} % of what was mapped)`,
    ],
    [
      'page requests',
      `${run.faults}: ${run.pagesFaultedIn} pages faulted in, ${run.pagesPremapped} pre-mapped`,
    ],
    [
      'fault latency',
      run.faults === 0
        ? 'no faults'
        : `min ${latency.min}, median ${latency.p50}, p99 ${latency.p99}, max ${latency.max} µs`,
    ],
    ['invalidated', `${run.pagesInvalidated} pages in ${run.invalidations} events`],
    ...reclaimLines(run),
    [
      'device DMA',
      `${formatSize(run.dmaBytesRead)} read, ${formatSize(run.dmaBytesWritten)} written`,
    ],
    ['intercepted calls', `${run.interceptedCalls} in ${run.wallSeconds.toFixed(2)} s`],
  ];
  const head = `iopf: ${printable(run.program)}: ${howItEnded(run)}; IOPF ${run.iopf}, pre-map ${run.premap}, Linux ${run.kernel} ABI`;
  return [head, ...lines.map(([name, value]) => `  ${name.padEnd(19)}${value}`)].join('\n');
}

/** What became of the program's memory, where somebody took it away or looked. */
function reclaimLines(run: RunSummary): [string, string][] {
  const { pagesReclaimed, reclaimScans, rssBytesBefore, rssBytesPeak, rssBytesEnd, swapBytesPeak } =
    run;
  const lines: [string, string][] = [];
  if (reclaimScans > 0 || pagesReclaimed > 0) {
    const scans = `${reclaimScans} scans in ${run.reclaimScanSeconds} s`;
    lines.push([
      'reclaimed',
      `${pagesReclaimed} of them by the host${reclaimScans > 0 ? `; ${scans}` : ''}`,
    ]);
  }
  if (rssBytesBefore !== null) {
    const swapped = swapBytesPeak! > 0 ? `; ${formatSize(swapBytesPeak!)} in swap at the peak` : '';
    lines.push([
      'resident memory',
      `${formatSize(rssBytesBefore)} before VFIO, ${formatSize(rssBytesPeak!)} at the peak, ${formatSize(rssBytesEnd!)} at the end${swapped}`,
    ]);
  }
  return lines;
}
