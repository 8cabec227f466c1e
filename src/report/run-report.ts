/** A live run as a report. */
import type { Picture } from '../trace/live-picture.js';
import type { Report, ReportTable } from './report.js';

/** What `iopf exec --json` has, as far as a report shows it apart. */
interface Summary {
  readonly program: string;
  readonly vfioProgram: string | null;
  readonly iopf: string;
  readonly premap: number;
  readonly faultLatencyUs: { readonly buckets: Readonly<Record<string, number>> };
  readonly verdict: string;
  readonly hint: string | null;
  readonly devices: readonly object[];
  readonly refused: readonly object[];
  readonly lostInterrupts: readonly object[];
  readonly failedCalls: readonly object[];
}

export function runReport(summary: Summary, { timeline, map }: Picture): Report {
  const {
    devices: _,
    failedCalls,
    faultLatencyUs,
    hint,
    lostInterrupts,
    refused,
    verdict,
    ...rest
  } = summary;
  const { buckets, ...latency } = faultLatencyUs;
  const numbers = { ...rest, ...prefixed('faultLatencyUs', latency) };
  const name = `IOPF ${summary.iopf}, pre-map ${summary.premap}`;
  const tables: readonly (readonly [string, readonly object[]])[] = [
    ['Refused accesses', refused],
    ['Interrupts without an eventfd', lostInterrupts],
    ['Calls that failed', failedCalls],
  ];
  return {
    title: `iopf exec ${summary.vfioProgram ?? summary.program}`,
    verdict: { verdict, hint },
    groups: [
      { title: summary.program, runs: [{ name, numbers, timeline, latency: buckets, map }] },
    ],
    tables: tables
      .filter(([, rows]) => rows.length > 0)
      .map(([title, rows]) => ({ title, rows: rows as ReportTable['rows'] })),
  };
}

function prefixed(
  prefix: string,
  values: Readonly<Record<string, number>>,
): Record<string, number> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [`${prefix}.${name}`, value]),
  );
}
