/** What a check comes to as a whole, and what has to be said of it. */
import type { Job } from '../search/job.js';
import type { ScenarioReport } from '../search/run-scenario.js';
import { number } from './report.js';

export interface Outcome {
  readonly passed: boolean;
  readonly lines: readonly string[];
  /** Those of the lines that say why it did not pass; violations are not among them. */
  readonly failures: readonly string[];
}

/**
 * A check passes where nothing broke and something was run: of each scenario an order with a step,
 * of a user's variant a method. `exhaustive`: of each scenario every order. `failed` are
 * the jobs that came to nothing.
 */
export function outcomeOf(
  jobs: readonly Job[],
  reports: readonly ScenarioReport[],
  failed: readonly Job[],
  exhaustive: boolean,
): Outcome {
  const lines: string[] = [];
  const failures: string[] = [];
  const fail = (line: string): void => {
    lines.push(line);
    failures.push(line);
  };
  const whole = reports.filter(({ violations }) => violations.length === 0);
  const names = (of: readonly ScenarioReport[]): string => of.map(({ name }) => name).join(', ');
  const idle = whole.filter(ranNothing);
  if (idle.length !== 0) fail(`nothing was run of: ${names(idle)}`);
  const partial = whole.filter((report) => !report.exhaustive);
  if (exhaustive && partial.length !== 0) fail(`not every order was run of: ${names(partial)}`);
  for (const { scenarios, variant } of failed)
    fail(`failed: ${variant?.name ?? scenarios.map(({ name }) => name).join(', ')}`);
  for (const job of jobs) {
    const { variant } = job;
    if (variant === null || failed.includes(job)) continue;
    const own = reports.filter((report) => report.variant === variant.name);
    if (own.some(({ violations }) => violations.length !== 0)) continue;
    const calls = own.reduce((sum, { replacedCalls }) => sum + (replacedCalls ?? 0), 0);
    if (variant.module === null) lines.push(`not found out: ${variant.name}`);
    else if (calls === 0)
      fail(`${variant.name}: none of its methods ran, so nothing is known of it`);
    else lines.push(`${variant.name}: no violation found; its methods ran ${number(calls)} times`);
  }
  const isWhole = whole.length === reports.length;
  return { passed: isWhole && failures.length === 0, lines, failures };
}

function ranNothing({ orders, cut, randomOrders, longest }: ScenarioReport): boolean {
  return (orders + cut === 0 || longest === 0) && randomOrders === 0;
}
