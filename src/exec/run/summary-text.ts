/** The summary of a run, for people. */
import { printable } from '../../input/printable.js';
import { formatSize } from '../../input/size.js';
import type { RefusedAccess } from '../incidents/incident-log.js';
import type { RunSummary } from './summary.js';

/** Lines of each kind of incident; `--json` has more. */
const SHOWN_MOST = 4;

/** `exit code 0`, `killed by SIGTERM`. */
export function howItEnded({ exitCode, signal }: RunSummary): string {
  return signal === null ? `exit code ${exitCode}` : `killed by ${signal}`;
}

/** The summary for people. */
export function formatSummary(run: RunSummary): string {
  const share = run.mappedBytesPeak === 0 ? 0 : (100 * run.residentBytesPeak) / run.mappedBytesPeak;
  const latency = run.faultLatencyUs;
  const lines: [string, string][] = [
    ['mapped for DMA', `${formatSize(run.mappedBytesPeak)} at the peak`],
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
    ...stallLines(run),
    ['invalidated', `${run.pagesInvalidated} pages in ${run.invalidations} events`],
    ...reclaimLines(run),
    [
      'device DMA',
      `${formatSize(run.dmaBytesRead)} read, ${formatSize(run.dmaBytesWritten)} written`,
    ],
    ...incidentLines(run),
    ...injectedLines(run),
    ['intercepted calls', `${run.interceptedCalls} in ${run.wallSeconds.toFixed(2)} s`],
  ];
  const head = `iopf: ${printable(run.program)}: ${howItEnded(run)}; IOPF ${run.iopf}, pre-map ${run.premap}, Linux ${run.kernel} ABI`;
  return [
    ...refusalHeadline(run),
    head,
    `  ${run.verdict}`,
    ...(run.hint === null ? [] : [`  try                ${run.hint}`]),
    ...lines.map(([name, value]) => `  ${name.padEnd(19)}${value}`),
  ].join('\n');
}

/** `nvme 0000:02:00.0 wrote 0x641000 (not mapped)`. */
export function refusalText({ access, device, iova, kind, reason }: RefusedAccess): string {
  const verb = access === 'read' ? 'read' : 'wrote';
  return `${kind} ${device} ${verb} 0x${iova.toString(16)} (${reason})`;
}

/** What was refused comes first: whatever else went wrong may follow from it. */
function refusalHeadline({ refused, refusedAccesses }: RunSummary): string[] {
  const [first] = refused;
  if (first === undefined) return [];
  const { asker, nearest } = first;
  const total = refusedAccesses === 1 ? '1 access' : `${refusedAccesses} accesses`;
  const lead = refused.length > 1 ? ', first' : '';
  return [
    `iopf: refused ${total}${lead}: ${refusalText(first)}`,
    ...(nearest === null ? [] : [`  nearest mapping    ${nearest}`]),
    ...(asker === null ? [] : [`  asked by           ${asker}`]),
  ];
}

function times(count: number): string {
  return count === 1 ? '' : ` × ${count}`;
}

/** Refusals, interrupts and calls, one line each, of which the first few are shown. */
function incidentLines(run: RunSummary): [string, string][] {
  const { failedCalls, lostInterrupts, refused } = run;
  const lines: [string, string][] = [];
  if (refused.length > 1)
    for (const each of refused.slice(0, SHOWN_MOST))
      lines.push(['refused', `${refusalText(each)}${times(each.count)}`]);
  for (const { count, device, interrupt, kind, vector } of lostInterrupts.slice(0, SHOWN_MOST)) {
    const which = interrupt === 'INTx' ? 'INTx' : `${interrupt} vector ${vector}`;
    lines.push(['no eventfd for', `${which} of ${kind} ${device}${times(count)}`]);
  }
  const calls = failedCalls
    .slice(0, SHOWN_MOST)
    .map(({ call, count, error }) => `${call} ${error}${times(count)}`);
  if (failedCalls.length > SHOWN_MOST) calls.push(`${failedCalls.length - SHOWN_MOST} more kinds`);
  if (calls.length > 0) lines.push(['failed calls', calls.join(', ')]);
  return lines;
}

/** What page requests took, here and by the model of `--model`. */
function stallLines(run: RunSummary): [string, string][] {
  const { model, stallSecondsLive, stallSecondsPriced, wallSeconds } = run;
  if (model === null || stallSecondsLive === null || stallSecondsPriced === null) return [];
  const share = wallSeconds === 0 ? 0 : (100 * stallSecondsLive) / wallSeconds;
  const live = `${formatSeconds(stallSecondsLive)} (${share.toFixed(1)} % of the run)`;
  return [['stalled', `${live}; priced by ${model}: ${formatSeconds(stallSecondsPriced)}`]];
}

function formatSeconds(seconds: number): string {
  return seconds < 1 ? `${(seconds * 1000).toFixed(1)} ms` : `${seconds.toFixed(2)} s`;
}

/** What was put in on purpose, and how to have the same again. */
function injectedLines({ again, injected }: RunSummary): [string, string][] {
  const lines = injected.map(({ count, passed, rule }): [string, string] => [
    'injected',
    count > 0 ? `${rule}${times(count)}` : `${rule}: never (its point was passed ${passed} times)`,
  ]);
  return again === null ? lines : [...lines, ['again', again]];
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
