/** A report as one file that needs no network: a table, and drawings that the page makes from the numbers in it. */
import type { AddressMapData } from '../trace/address-map.js';
import type { TimelineStep } from '../trace/timeline.js';
import { pageScript } from './page-script.js';
import { pageStyle } from './page-style.js';

export interface ReportRun {
  /** What tells this run from the others of its group: a policy. */
  readonly name: string;
  /** Numbers by the names that `--json` gives them. */
  readonly numbers: Readonly<Record<string, number | string | null>>;
  readonly timeline: readonly TimelineStep[];
  /** Faults by VT-d's buckets. */
  readonly latency: Readonly<Record<string, number>>;
  readonly map: AddressMapData | null;
}

export interface ReportTable {
  readonly title: string;
  readonly rows: readonly Readonly<Record<string, number | string | null>>[];
}

/** What happened in which order, with a column for each actor. */
export interface ReportHistory {
  readonly title: string;
  /** What is to be said about it. */
  readonly lines: readonly string[];
  readonly actors: readonly string[];
  readonly steps: readonly {
    readonly actor: string;
    readonly what: string;
    readonly changes: readonly string[];
  }[];
  /** Command line that shows it again. */
  readonly replay: string;
}

export interface Report {
  readonly title: string;
  /** Runs of one input. */
  readonly groups: readonly { readonly title: string; readonly runs: readonly ReportRun[] }[];
  readonly tables: readonly ReportTable[];
  readonly histories?: readonly ReportHistory[];
}

/** The page of a live view: it listens to `events` beside its own address. */
export function livePage(title: string): string {
  return `<!doctype html><meta charset="utf-8"><title>${escapeHtml(title)}</title><pre id="log"></pre>
<script>const log = document.getElementById('log');
const source = new EventSource('events');
for (const kind of ['start', 'sample', 'calls', 'progress', 'report', 'end'])
  source.addEventListener(kind, (event) => { log.textContent = kind + ' ' + event.data.slice(0, 2000) + '\\n' + log.textContent.slice(0, 20000); });
</script>`;
}

export function formatReport(report: Report): string {
  // Nothing in the data may end the script element.
  const data = JSON.stringify(report).replaceAll('<', '\\u003c');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>${escapeHtml(report.title)}</title>
<style>${pageStyle}</style>
</head>
<body>
<h1>${escapeHtml(report.title)}</h1>
<main></main>
<div id="tip" role="status" hidden></div>
<script type="application/json" id="data">${data}</script>
<script>${pageScript}</script>
</body>
</html>
`;
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
