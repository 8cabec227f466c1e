/** A comparison as a report. */
import type { CompareResult } from '../sim/compare.js';
import type { OvercommitRow } from '../sim/overcommit.js';
import type { RunRow } from '../sim/run.js';
import type { Report, ReportCurves, ReportRun, ReportTable } from './report.js';
import { costText, publishedText } from './table.js';

/** Numbers of which a change between two recordings is worth a column. */
const changing = [
  'mappedBytesPeak',
  'pinnedBytesPeak',
  'residentBytesPeak',
  'residentBytesMean',
  'faults',
  'pagesFaultedIn',
  'pagesNeverUsed',
  'stallSeconds',
  'rampSeconds',
  'invalidations',
] as const satisfies readonly (keyof RunRow)[];

export function comparisonReport(result: CompareResult): Report {
  const { comparison } = result;
  const inputs = [...new Set(comparison.runs.map(({ input }) => input))];
  const together = inputsTogether(inputs, result.programs);
  const tables: ReportTable[] = together.flatMap((group) => changes(group, comparison.runs));
  const add = (title: string, rows: readonly object[] | undefined): void => {
    if (rows !== undefined) tables.push({ title, rows: rows as ReportTable['rows'] });
  };
  add('Published, and by this model: VFIO with IOPF', comparison.published);
  add(
    'Published, and by this model: host SVA (the model is of VFIO, not of SVA)',
    comparison.publishedHostSva,
  );
  add(
    'Published, and by the model: what VFIO costs',
    comparison.publishedCosts?.map((row) => ({
      model: row.model,
      figure: row.figure,
      published: publishedText(row),
      byModel: costText(row.byModel, row.unit),
      residualPercent: row.residualPercent,
    })),
  );
  add(
    'The least memory of the host within the bound',
    comparison.overcommit?.map(({ fits, ...row }) =>
      fits === undefined ? row : { ...row, fittingVms: fits.vms },
    ),
  );
  add('What cannot run', comparison.impossible);
  return {
    title: `iopf compare ${inputs.join(' ')}`,
    groups: together.map((group) => ({
      title: titleOf(group, result.programs),
      ...noteOf(group, result),
      runs: group.flatMap((input) => runsOf(input, result, group.length > 1)),
    })),
    curves: curvesOf(comparison.overcommit ?? []),
    tables,
  };
}

/** Machines on the host that was given, a line for each policy. */
function curvesOf(rows: readonly OvercommitRow[]): ReportCurves[] {
  return [...new Set(rows.map(({ input }) => input))].flatMap((input): ReportCurves[] => {
    const lines = rows.flatMap((row) => {
      const points = row.fits?.curve ?? [];
      if (row.input !== input || points.length === 0) return [];
      return [
        {
          name: row.policy,
          at: points.map(({ vms }) => vms),
          slowdownPercent: points.map(({ slowdownPercent }) => slowdownPercent),
        },
      ];
    });
    return lines.length === 0
      ? []
      : [{ title: `How many machines fit: ${input}`, along: 'machines', lines }];
  });
}

/** Recordings of one program are shown together, every other input by itself. */
function inputsTogether(
  inputs: readonly string[],
  programs: CompareResult['programs'],
): string[][] {
  const groups: string[][] = [];
  for (const input of inputs) {
    const program = programs[input];
    const group = groups.find(([first]) => program !== undefined && programs[first!] === program);
    if (group === undefined) groups.push([input]);
    else group.push(input);
  }
  return groups;
}

function titleOf(group: readonly string[], programs: CompareResult['programs']): string {
  const [first] = group;
  return group.length === 1 ? first! : `${programs[first!]!}: ${group.join(', ')}`;
}

/** The numbers are of all machines. */
function noteOf(group: readonly string[], { outcomes }: CompareResult): { readonly note?: string } {
  const machines = outcomes.map((outcome) =>
    outcome.kind === 'done' && group.includes(outcome.row.input)
      ? outcome.detail.machines.length
      : 0,
  );
  const most = Math.max(1, ...machines);
  if (most === 1) return {};
  return { note: `Memory, faults and addresses are drawn of the first of ${most} machines.` };
}

function runsOf(
  input: string,
  { outcomes }: CompareResult,
  isAmongOthers: boolean,
): readonly ReportRun[] {
  return outcomes.flatMap((outcome) => {
    if (outcome.kind !== 'done' || outcome.row.input !== input) return [];
    const { policy, input: _, ...rest } = outcome.row;
    const { timeline, latency, map } = outcome.detail;
    const numbers = isAmongOthers ? { input, policy, ...rest } : { policy, ...rest };
    const name = isAmongOthers ? `${input}, ${policy}` : policy;
    return [{ name, numbers, timeline, latency, map }];
  });
}

/** How much the recordings behind the first of a group differ from it, policy by policy. */
function changes([first, ...others]: readonly string[], runs: readonly RunRow[]): ReportTable[] {
  return others.flatMap((input) => {
    const rows = runs
      .filter((run) => run.input === input)
      .flatMap((run) => {
        const before = runs.find((each) => each.input === first && each.policy === run.policy);
        if (before === undefined) return [];
        const shares = changing.map((name) => [`${name}Change`, change(before[name], run[name])]);
        return [{ policy: run.policy, ...Object.fromEntries(shares) }];
      });
    if (rows.length === 0) return [];
    return [{ title: `${input} against ${first}, in percent of it`, rows }];
  });
}

/** In percent; null: from nothing to something. */
function change(before: number, now: number): number | null {
  if (before === now) return 0;
  return before === 0 ? null : (100 * (now - before)) / before;
}
