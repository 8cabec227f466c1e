/** A plan as a report: the bill, what machines need, and their curves. */
import type { Plan } from '../plan/plan.js';
import type { Report } from './report.js';

export function planReport(plan: Plan): Report {
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
          why,
        })),
      },
      {
        title: 'What a machine needs',
        rows: plan.policies.flatMap(({ classes, policy }) =>
          classes.map((each) => ({ policy, ...each })),
        ),
      },
      ...plan.curves.map(({ name, points, policy, seed }) => ({
        title: `The curve of ${name}, ${policy}, seed ${seed}`,
        rows: points.map((point) => ({ ...point })),
      })),
    ],
  };
}
