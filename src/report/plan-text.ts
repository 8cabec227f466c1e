/** A plan as tables for people. */
import { formatSize } from '../input/size.js';
import type { HostCount, Plan } from '../plan/plan.js';
import { table } from './text-table.js';

export function planText(plan: Plan): string {
  const { fleet, machines, model, percentile, policies, slowdownBoundPercent, trials } = plan;
  const impossible = policies.flatMap(({ policy, why }) =>
    why === null ? [] : [`${policy}: ${why}\n`],
  );
  return [
    `${fleet}: ${machines} machines, model ${model}; ${slowdownBoundPercent} % at most for ` +
      `${percentile} % of seeds, ${trials} orders of arrival`,
    table(
      ['policy', 'hosts', 'first fit', 'best fit', 'lower bound', 'memory', 'in use', 'price'],
      policies.map((at) => [
        at.policy,
        at.bill === null ? 'none' : String(at.bill.hosts),
        hosts(at.firstFit),
        hosts(at.bestFit),
        at.lowerBound === null ? '' : String(at.lowerBound),
        at.bill === null ? '' : formatSize(at.bill.memoryBytes),
        at.memoryUsedPercent === null ? '' : `${at.memoryUsedPercent} %`,
        at.bill?.price == null ? '' : String(at.bill.price),
      ]),
    ),
    ...impossible,
    'Memory of the host that a machine needs, and a host as there are most',
    table(
      ['policy', ...policies[0]!.classes.map(({ name }) => name), 'a host'],
      policies.map(({ classes, policy, typicalHost }) => [
        policy,
        ...classes.map(({ bytes, leastSlowdownPercent, mappedBytes }) =>
          bytes === null
            ? `${leastSlowdownPercent ?? '-'} %`
            : `${formatSize(bytes)} of ${formatSize(mappedBytes)}`,
        ),
        typicalHost === null
          ? ''
          : Object.entries(typicalHost)
              .map(([name, count]) => `${count} ${name}`)
              .join(', '),
      ]),
    ),
  ].join('\n');
}

/** `812.4 (811.9 to 812.9)`, at 95 % confidence. */
function hosts(count: HostCount | null): string {
  if (count === null) return '';
  const { high, low, mean } = count;
  return high === low ? String(mean) : `${mean} (${low} to ${high})`;
}
