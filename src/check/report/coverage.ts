/** What a check within a bound has covered, and what not. */
import type { Bound } from '../search/bound.js';
import type { ScenarioReport } from '../search/run-scenario.js';
import { count, number } from './report.js';

export interface Coverage {
  readonly bound: Bound;
  /** Names of scenarios that do not say how they are scaled: they were run as they are. */
  readonly notScaled: readonly string[];
  /** Beginnings of as many steps as the bound whose orders go on: these were not run. */
  readonly cut: number;
}

export function coverageOf(bound: Bound, reports: readonly ScenarioReport[]): Coverage {
  const { pages, devices } = bound;
  const isScaled = pages !== null || devices !== null;
  return {
    bound,
    notScaled: isScaled ? namesOf(reports.filter(({ scalable }) => !scalable)) : [],
    cut: reports.reduce((sum, { cut }) => sum + cut, 0),
  };
}

export function coverageLines(
  { bound, notScaled, cut }: Coverage,
  reports: readonly ScenarioReport[],
): string[] {
  const { pages, devices, steps } = bound;
  const lines: string[] = [];
  if (pages !== null || devices !== null) {
    const scaled = new Map<string, ScenarioReport[]>();
    for (const report of reports.filter(({ scalable }) => scalable)) {
      const size = `${count(report.pages, 'page')}, ${count(report.devices, 'device')}`;
      scaled.set(size, [...(scaled.get(size) ?? []), report]);
    }
    for (const [size, of] of scaled) lines.push(`${size}: ${namesOf(of).join(', ')}`);
    if (notScaled.length !== 0) lines.push(`not scaled: ${notScaled.join(', ')}`);
  }
  if (steps !== null) {
    const cutOf = namesOf(reports.filter((report) => report.cut !== 0));
    const of = cut === 0 ? '' : ` beginnings of ${cutOf.join(', ')}`;
    lines.push(`orders longer than ${count(steps, 'step')} were cut: ${number(cut)}${of}`);
  }
  return lines;
}

function namesOf(reports: readonly ScenarioReport[]): string[] {
  return [...new Set(reports.map(({ name }) => name))];
}
