/** Sweeps: a fault at each of the times that a point is passed, one a run. */
import type { OwnPoint } from '../device/own-points.js';
import { needsFaults, type PointName, points } from './points.js';
import { parseRule, RuleError } from './rule.js';

const ALL = 'all';

/** `nvme`, `dma`: what all points of a kind begin with. */
function roomNames(own: readonly OwnPoint[]): string[] {
  const swept = Object.entries(points).filter(([, { sweep }]) => sweep.length > 0);
  const declared = own.filter(({ sweep }) => sweep.length > 0);
  return [
    ...new Set([
      ...swept.map(([name]) => name.split(':')[0]!),
      ...declared.map(({ kind }) => kind),
    ]),
  ];
}

/**
 * The rules of a set, without a WHEN: of `all`, of a room (`nvme`), or of a rule that the user
 * wrote; several are divided by commas. `canFault`: devices can have I/O page faults. `own`: what
 * devices of the run declare. Throws RuleError.
 */
export function rulesOfSet(
  set: string,
  canFault: boolean,
  own: readonly OwnPoint[] = [],
): string[] {
  const words = /[=@]/.test(set) ? [set] : set.split(',');
  return words.flatMap((word) => {
    const named = Object.entries(points).filter(
      ([name, { sweep }]) => sweep.length > 0 && [ALL, name.split(':')[0]].includes(word),
    );
    const declared = own.filter(({ kind }) => [ALL, kind].includes(word)).flatMap(rulesOf);
    if (named.length + declared.length > 0)
      return [
        ...named
          .filter(([name]) => canFault || !needsFaults.has(name as PointName))
          .flatMap(([, { sweep }]) => sweep),
        ...declared,
      ];
    if (parseRule(withTime(word, 2, own, set), own).when.first !== 2)
      throw new RuleError(`rule "${word}": a sweep chooses the times itself; leave out access=N`);
    return [word];
  });
}

function rulesOf({ kind, name, sweep }: OwnPoint): string[] {
  return sweep.map((value) => (value === true ? `${kind}:${name}` : `${kind}:${name}=${value}`));
}

/**
 * The rule at the `time`-th time alone; 0: never, it counts. Throws RuleError where the rule has a
 * time itself, or names no set; `set`: what the user wrote.
 */
export function withTime(
  rule: string,
  time: number,
  own: readonly OwnPoint[] = [],
  set = rule,
): string {
  const [, point = '', rest = ''] = /^([^=@]*)(.*)$/.exec(rule)!;
  const words = point.split(':').length;
  if (words === 2) return `${point}:${time}${rest}`;
  throw new RuleError(
    words > 2
      ? `rule "${rule}": a sweep chooses the times itself; leave out "${point.split(':')[2]}"`
      : `there is no set "${set}"; sets: ${ALL}, ${roomNames(own).join(', ')}, or a rule without a time`,
  );
}

/** At most so many of the numbers 1 to `count`, with the first and the last, evenly spread. */
export function spread(count: number, most: number): number[] {
  if (count <= most) return [...Array(count).keys()].map((index) => index + 1);
  if (most === 1) return [1];
  return [...Array(most).keys()].map((n) => 1 + Math.round((n * (count - 1)) / (most - 1)));
}
