/** A check's results as text. */
import type { ScenarioReport, ViolationReport } from '../search/run-scenario.js';
import { formatTimeline } from './timeline.js';

export function formatScenario(report: ScenarioReport): string {
  const { exhaustive, seconds, violations, runs, rounds, randomOrders, shares, cut } = report;
  const name = report.variant === null ? report.name : `${report.variant}: ${report.name}`;
  const broken = violations.length !== 0;
  const verdict = broken ? 'VIOLATION' : exhaustive ? 'every order' : 'not every order';
  const orders = count(report.orders, 'order');
  const counts = [
    !broken ? orders : report.orders === 0 ? 'in the first order' : `after ${orders}`,
    shares === 1
      ? count(report.states, 'state')
      : `${count(report.states, 'state')} in ${shares} shares`,
    count(runs, 'run'),
    `${seconds.toFixed(2)} s`,
  ];
  if (cut !== 0) counts.push(`${number(cut)} cut`);
  if (randomOrders !== 0) counts.push(count(randomOrders, 'random order'));
  if (rounds !== 0) counts.push(count(rounds, 'round'));
  const line = `${name.padEnd(36)} ${verdict.padEnd(15)} ${counts.join(', ')}`;
  return [line, ...violations.map((violation) => formatViolation(report, violation))].join('\n');
}

function formatViolation(report: ScenarioReport, violation: ViolationReport): string {
  const { row, invariant, detail, steps, replay, seed } = violation;
  const found =
    seed === null ? 'the shortest order that breaks it' : `a random order, seed ${seed}`;
  return [
    '',
    `  ${row}: broken: ${invariant}`,
    `  ${detail}`,
    `  ${report.about}; ${found}, ${count(steps.length, 'step')}:`,
    '',
    indent(formatTimeline(report.actors, { steps })),
    '',
    `  again: ${replay}`,
    '',
  ].join('\n');
}

export function formatTotal(reports: readonly ScenarioReport[], seconds: number): string {
  const total = (noun: string, of: (report: ScenarioReport) => number): string =>
    count(
      reports.reduce((sum, each) => sum + of(each), 0),
      noun,
    );
  const counts = [
    total('order', ({ orders }) => orders),
    total('state', ({ states }) => states),
    total('run', ({ runs }) => runs),
    total('violation', ({ violations }) => violations.length),
    `${seconds.toFixed(1)} s`,
  ];
  const variants = new Set(reports.flatMap(({ variant }) => (variant === null ? [] : [variant])))
    .size;
  const scenarios = count(new Set(reports.map(({ name }) => name)).size, 'scenario');
  const exhaustive = number(reports.filter((report) => report.exhaustive).length);
  const what =
    variants === 0
      ? `${scenarios}, ${exhaustive} in every order`
      : `${count(variants, 'variant')}, ${scenarios}`;
  return `${what}: ${counts.join(', ')}`;
}

/** `1 order`, `92 orders`. */
export function count(value: number, noun: string): string {
  return `${number(value)} ${noun}${value === 1 ? '' : 's'}`;
}

/** `1,000`. */
export function number(value: number): string {
  return value.toLocaleString('en-US');
}

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, '  ');
}
