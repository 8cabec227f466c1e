/** A live run as a report. */
import type { Picture } from '../trace/live-picture.js';
import type { Report } from './html.js';

/** What `iopf exec --json` has, as far as a report shows it apart. */
interface Summary {
  readonly program: string;
  readonly iopf: string;
  readonly premap: number;
  readonly faultLatencyUs: { readonly buckets: Readonly<Record<string, number>> };
}

export function runReport(summary: Summary, { timeline, map }: Picture): Report {
  const { faultLatencyUs, ...rest } = summary;
  const { buckets, ...latency } = faultLatencyUs;
  const numbers = { ...rest, ...prefixed('faultLatencyUs', latency) };
  const name = `IOPF ${summary.iopf}, pre-map ${summary.premap}`;
  return {
    title: `iopf exec ${summary.program}`,
    groups: [
      { title: summary.program, runs: [{ name, numbers, timeline, latency: buckets, map }] },
    ],
    tables: [],
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
