/** A plan as a report: the bill, what machines need, and their curves. */
import type { Plan } from '../plan/plan.js';
import type { Report, ReportCurves } from './report.js';

export function planReport(plan: Plan): Report {
  const isWhole = plan.policies.every(({ why }) => why === null);
  return {
    title: `iopf plan ${plan.fleet}`,
    groups: [],
    tables: [
      {
        title: 'The bill: hosts by policy',
        rows: plan.policies.map(({ bestFit, bill, firstFit, lowerBound, policy, why }) => ({
          policy,
          hosts: bill?.hosts ?? null,
          firstFit: firstFit?.mean ?? null,
          bestFit: bestFit?.mean ?? null,
          lowerBound,
          memoryBytes: bill?.memoryBytes ?? null,
          price: bill?.price ?? null,
          ...(isWhole ? {} : { why }),
        })),
      },
      {
        title: 'What a machine needs',
        rows: plan.policies.flatMap(({ classes, policy }) =>
          classes.map(({ bytes, count, leastSlowdownPercent, mappedBytes, name }) => ({
            policy,
            name,
            count,
            mappedBytes,
            neededBytes: bytes,
            leastSlowdownPercent,
          })),
        ),
      },
    ],
    curves: [...new Set(plan.curves.map(({ name }) => name))].flatMap((name): ReportCurves[] => {
      const lines = linesOf(plan, name);
      if (lines.length === 0) return [];
      return [{ title: `What ${name} makes of less memory`, along: 'memory', lines }];
    }),
  };
}

/**
 * A line for each policy: of the first seed, because the others lie close to it. What is pinned has
 * one point, far out where nothing else is: the table has it.
 */
function linesOf(plan: Plan, name: string): ReportCurves['lines'] {
  const own = plan.curves.filter((curve) => curve.name === name && curve.seed === plan.seed);
  return own
    .filter(({ points }) => points.length > 1)
    .map(({ points, policy }) => {
      const rising = [...points].sort((a, b) => a.memoryBytes - b.memoryBytes);
      return {
        name: policy,
        at: rising.map(({ memoryBytes }) => memoryBytes),
        slowdownPercent: rising.map(({ slowdownPercent }) => slowdownPercent),
      };
    });
}
