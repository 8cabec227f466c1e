/** What a host needs for several machines, and how many fit, for people. */
import { formatSize } from '../input/size.js';
import type { OvercommitRow } from '../sim/overcommit.js';
import { table } from './text-table.js';

export function overcommitText(rows: readonly OvercommitRow[]): string[] {
  const inputs = [...new Set(rows.map(({ input }) => input))];
  return [
    'The least memory of the host within the bound',
    table(
      ['input', 'policy', 'machines', 'bound', 'host memory', 'slowdown', 'from'],
      rows.map((row) => [
        row.input,
        row.policy,
        String(row.vms),
        `${row.slowdownBoundPercent} %`,
        row.hostBytes === null ? 'none does' : formatSize(row.hostBytes),
        row.slowdownPercent === null ? '' : percent(row.slowdownPercent),
        row.from,
      ]),
    ),
    ...rows.flatMap(nearness),
    ...inputs.flatMap((input) => verdictOf(rows.filter((row) => row.input === input))),
  ];
}

function percent(value: number): string {
  return `${value.toFixed(1)} %`;
}

/** How near "none does" came, and what to try. */
function nearness({ closestPercent, policy, slowdownBoundPercent }: OvercommitRow): string[] {
  if (closestPercent === undefined) return [];
  if (closestPercent === null) return [`${policy}: cannot run these machines at all\n`];
  const over = (closestPercent / slowdownBoundPercent).toFixed(1);
  return [
    `${policy}: ${percent(closestPercent)} with all memory, ${over} times the bound; ` +
      'try a larger window (iopf:premap=N), a longer run, or that bound\n',
  ];
}

/** `31 fit at 4.8 % with iopf:premap=8; 15 with static`, and the curves behind it. */
export function verdictOf(rows: readonly OvercommitRow[]): string[] {
  const answered = rows.flatMap((row) =>
    row.fits === undefined ? [] : [{ ...row, fits: row.fits }],
  );
  if (answered.length === 0) return [];
  const best = [...answered].sort((a, b) => b.fits.vms - a.fits.vms);
  const words = best.map(({ fits, policy }, index) => {
    const at = fits.slowdownPercent === null ? '' : ` at ${percent(fits.slowdownPercent)}`;
    return index === 0 ? `${fits.vms} fit${at} with ${policy}` : `${fits.vms}${at} with ${policy}`;
  });
  const { fits } = best[0]!;
  return [
    `On a host of ${formatSize(fits.hostBytes)}: ${words.join('; ')}\n`,
    'Machines and their slowdown',
    table(
      ['policy', ...fits.curve.map((_, index) => (index === 0 ? 'machines: slowdown' : ''))],
      answered.map((row) => [
        row.policy,
        ...fits.curve.map((_, index) => {
          const point = row.fits.curve[index];
          return point === undefined ? '' : `${point.vms}: ${percent(point.slowdownPercent)}`;
        }),
      ]),
    ),
  ];
}
