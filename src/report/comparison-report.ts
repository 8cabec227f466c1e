/** A comparison as a report. */
import type { CompareResult } from '../sim/compare.js';
import type { Report, ReportTable } from './report.js';

export function comparisonReport({ comparison, outcomes }: CompareResult): Report {
  const inputs = [...new Set(comparison.runs.map(({ input }) => input))];
  const tables: ReportTable[] = [];
  const add = (title: string, rows: readonly object[] | undefined): void => {
    if (rows !== undefined) tables.push({ title, rows: rows as ReportTable['rows'] });
  };
  add('Published, and by this model: VFIO with IOPF', comparison.published);
  add(
    'Published, and by this model: host SVA (the model is of VFIO, not of SVA)',
    comparison.publishedHostSva,
  );
  add('The least memory of the host within the bound', comparison.overcommit);
  add('What cannot run', comparison.impossible);
  return {
    title: `iopf compare ${inputs.join(' ')}`,
    groups: inputs.map((input) => ({
      title: input,
      runs: outcomes.flatMap((outcome) => {
        if (outcome.kind !== 'done' || outcome.row.input !== input) return [];
        const { policy, input: _, ...numbers } = outcome.row;
        const { timeline, latency, map } = outcome.detail;
        return [{ name: policy, numbers: { policy, ...numbers }, timeline, latency, map }];
      }),
    })),
    tables,
  };
}
