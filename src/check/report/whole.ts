/** One report of a scenario whose orders were split into shares. */
import { Bug } from '../../abi/bug.js';
import type { ScenarioReport, ViolationReport } from '../search/run-scenario.js';

/** `reports`: at least one, of `shares` shares; the others came to nothing. */
export function wholeOf(reports: readonly ScenarioReport[], shares: number): ScenarioReport {
  const [first] = reports;
  if (first === undefined) throw new Bug('a scenario without shares');
  const sum = (of: (report: ScenarioReport) => number): number =>
    reports.reduce((total, report) => total + of(report), 0);
  return {
    ...first,
    shares,
    orders: sum(({ orders }) => orders),
    cut: sum(({ cut }) => cut),
    states: sum(({ states }) => states),
    runs: sum(({ runs }) => runs),
    stepsKnown: sum(({ stepsKnown }) => stepsKnown),
    rounds: sum(({ rounds }) => rounds),
    longest: Math.max(...reports.map(({ longest }) => longest)),
    exhaustive: reports.length === shares && reports.every(({ exhaustive }) => exhaustive),
    randomOrders: sum(({ randomOrders }) => randomOrders),
    seconds: sum(({ seconds }) => seconds),
    violations: shortestOf(reports.flatMap(({ violations }) => violations)),
  };
}

/** What every order found before what random ones did. */
function shortestOf(violations: readonly ViolationReport[]): readonly ViolationReport[] {
  const lengthOf = ({ order, seed }: ViolationReport): number =>
    order.length + (seed === null ? 0 : Number.MAX_SAFE_INTEGER / 2);
  return [...violations].sort((a, b) => lengthOf(a) - lengthOf(b)).slice(0, 1);
}
