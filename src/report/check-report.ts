/** A check's results as a report. */
import type { ScenarioReport, ViolationReport } from '../check/search/run-scenario.js';
import type { Report, ReportHistory } from './report.js';

export function checkReport(scenarios: readonly ScenarioReport[]): Report {
  return {
    title: 'iopf check',
    groups: [],
    tables: [{ title: 'Scenarios', rows: scenarios.map(row) }],
    histories: scenarios.flatMap((scenario) =>
      scenario.violations.map((violation) => historyOf(scenario, violation)),
    ),
  };
}

function row(scenario: ScenarioReport): Record<string, string | number> {
  const { about, rows, orders, states, runs, randomOrders, seconds } = scenario;
  return {
    scenario: nameOf(scenario),
    about,
    result: resultOf(scenario),
    rows: rows.join(' '),
    orders,
    states,
    runs,
    randomOrders,
    seconds: Math.round(seconds * 100) / 100,
  };
}

function resultOf({ violations, exhaustive }: ScenarioReport): string {
  if (violations.length !== 0) return 'violation';
  return exhaustive ? 'every order holds' : 'holds, not every order was run';
}

function historyOf(scenario: ScenarioReport, violation: ViolationReport): ReportHistory {
  const { row, invariant, detail, steps, replay, seed } = violation;
  const found =
    seed === null ? 'The shortest order that breaks it' : `A random order, seed ${seed}`;
  return {
    title: `${row}: ${nameOf(scenario)}`,
    lines: [
      `Broken: ${invariant}.`,
      detail,
      `${found}: ${steps.length} ${steps.length === 1 ? 'step' : 'steps'}.`,
    ],
    actors: scenario.actors,
    steps: steps.map(({ actor, what, place, changes }) => ({
      actor,
      what: place === null ? what : `${what} (${place})`,
      changes,
    })),
    replay,
  };
}

function nameOf({ name, variant }: ScenarioReport): string {
  return variant === null ? name : `${variant}: ${name}`;
}
