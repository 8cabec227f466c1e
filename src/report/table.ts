/** A comparison as a table for people. */
import { formatSize } from '../input/size.js';
import type { Comparison, PublishedComparison } from '../sim/compare.js';
import type { CostComparison } from '../sim/published-costs.js';
import type { RunRow } from '../sim/run.js';
import { overcommitText } from './overcommit-text.js';
import { table } from './text-table.js';

/** Columns: a title and what a run shows there. */
const columns: readonly (readonly [string, (row: RunRow) => string])[] = [
  ['policy', (row) => row.policy],
  ['mapped', (row) => formatSize(row.mappedBytesPeak)],
  ['pinned peak', (row) => formatSize(row.pinnedBytesPeak)],
  ['resident peak', (row) => formatSize(row.residentBytesPeak)],
  ['mean', (row) => formatSize(row.residentBytesMean)],
  ['faults', (row) => String(row.faults)],
  ['pages in', (row) => String(row.pagesFaultedIn)],
  ['never used', (row) => String(row.pagesNeverUsed)],
  ['stall', (row) => seconds(row.stallSeconds)],
  ['slowdown', (row) => `${row.slowdownPercent.toFixed(1)} %`],
  ['ramp', (row) => seconds(row.rampSeconds)],
  ['invalidations', (row) => String(row.invalidations)],
];

export function formatComparison(comparison: Comparison): string {
  const parts: string[] = [];
  const inputs = [...new Set(comparison.runs.map((row) => row.input))];
  for (const input of inputs) {
    const rows = comparison.runs.filter((row) => row.input === input);
    parts.push(`${input}, model ${rows[0]!.model}, seed ${rows[0]!.seed}`);
    parts.push(
      table(
        columns.map(([title]) => title),
        rows.map((row) => columns.map(([, show]) => show(row))),
      ),
    );
  }
  for (const { input, policy, why } of comparison.impossible ?? [])
    parts.push(`${input}, ${policy}: ${why}\n`);
  if (comparison.published)
    parts.push(
      'Published, and by this model: VFIO with IOPF',
      publishedTable(comparison.published),
    );
  if (comparison.publishedHostSva)
    parts.push(
      'Published, and by this model: host SVA (the model is of VFIO, not of SVA)',
      publishedTable(comparison.publishedHostSva),
    );
  if (comparison.publishedCosts)
    parts.push(
      'Published, and by the model: what VFIO costs',
      costTable(comparison.publishedCosts),
    );
  if (comparison.overcommit) parts.push(...overcommitText(comparison.overcommit));
  return parts.join('\n');
}

function publishedTable(rows: readonly PublishedComparison[]): string {
  return table(
    [
      'message',
      'premap',
      'sends',
      'faults published',
      'model',
      'slowdown published',
      'model',
      'residual',
    ],
    rows.map((row) => [
      formatSize(row.messageBytes),
      String(row.premapPages),
      String(row.sends),
      String(row.publishedFaults),
      String(row.faults),
      `${row.publishedSlowdownPercent.toFixed(1)} %`,
      `${row.slowdownPercent.toFixed(1)} %`,
      signed(row.slowdownPercent - row.publishedSlowdownPercent, 1),
    ]),
  );
}

function costTable(rows: readonly CostComparison[]): string {
  return table(
    ['model', 'figure', 'published', 'by the model', 'residual'],
    rows.map((row) => [
      row.model,
      row.figure,
      publishedText(row),
      costText(row.byModel, row.unit),
      `${signed(row.residualPercent, 2)} %`,
    ]),
  );
}

/** A published figure, or the range that it is. */
export function publishedText({ publishedHigh, publishedLow, unit }: CostComparison): string {
  const low = costText(publishedLow, unit);
  return publishedLow === publishedHigh ? low : `${low} to ${costText(publishedHigh, unit)}`;
}

export function costText(value: number, unit: CostComparison['unit']): string {
  if (unit === 'GiB/s') return `${Number(value.toPrecision(4))} GiB/s`;
  if (value < 1e-3) return `${Number((value * 1e6).toPrecision(4))} us`;
  return `${Number(value.toPrecision(3))} s`;
}

function signed(value: number, digits: number): string {
  const text = value.toFixed(digits);
  return value > 0 && Number(text) !== 0 ? `+${text}` : text.replace(/^-(0\.0*)$/, '$1');
}

function seconds(value: number): string {
  if (value === 0) return '0';
  if (value < 1e-3) return `${(value * 1e6).toFixed(0)} us`;
  return value < 1 ? `${(value * 1e3).toFixed(1)} ms` : `${value.toFixed(2)} s`;
}
