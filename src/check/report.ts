/** A check's results: as text, and as JSON for machines. */
import type { ScenarioReport, ViolationReport } from './job.js';
import { formatTimeline } from './timeline.js';

export function formatScenario(report: ScenarioReport): string {
  const { orders, states, exhaustive, seconds, violations } = report;
  const name = report.variant === null ? report.name : `${report.variant}: ${report.name}`;
  const verdict = violations.length !== 0 ? 'VIOLATION' : exhaustive ? 'every order' : 'not every order';
  const counts = `${number(orders)} orders, ${number(states)} states, ${seconds.toFixed(2)} s`;
  const random = report.randomOrders === 0 ? '' : `, ${number(report.randomOrders)} random orders`;
  const line = `${name.padEnd(36)} ${verdict.padEnd(15)} ${counts}${random}`;
  return [line, ...violations.map((violation) => formatViolation(report, violation))].join('\n');
}

function formatViolation(report: ScenarioReport, violation: ViolationReport): string {
  const { row, invariant, detail, steps, replay, seed } = violation;
  const found = seed === null ? 'the shortest order that breaks it' : `a random order, seed ${seed}`;
  return [
    '',
    `  ${row}: broken: ${invariant}`,
    `  ${detail}`,
    `  ${report.about}; ${found}, ${steps.length} steps:`,
    '',
    indent(formatTimeline(report.actors, { steps, violation: null })),
    '',
    `  again: ${replay}`,
    '',
  ].join('\n');
}

export function formatTotal(reports: readonly ScenarioReport[], seconds: number): string {
  const sum = (of: (report: ScenarioReport) => number) =>
    number(reports.reduce((total, each) => total + of(each), 0));
  const exhaustive = reports.filter((report) => report.exhaustive).length;
  const broken = reports.filter((report) => report.violations.length !== 0).length;
  return (
    `${reports.length} scenarios, ${exhaustive} in every order: ${sum((each) => each.orders)} orders, ` +
    `${sum((each) => each.states)} states, ${broken} violations, ${seconds.toFixed(1)} s`
  );
}

export function toJson(reports: readonly ScenarioReport[], seconds: number): string {
  return `${JSON.stringify({ scenarios: reports, seconds }, null, 2)}\n`;
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, '  ');
}
