/** What a program made of a fault, and the table of a sweep. */
import { constants } from 'node:os';
import type { RunSummary } from '../exec/run/summary.js';
import { howItEnded } from '../exec/run/summary-text.js';
import { printable } from '../input/printable.js';
import { formatSize } from '../input/size.js';

/**
 * - `well`: exit code 0, and what the user checks is right;
 * - `error`: an exit code of its own that is not 0;
 * - `missed`: the point was not passed so often, so that there was no fault;
 * - `crash`: a signal ended it, or a program that it had begun, as far as a shell's code says so;
 * - `hang`: it did not end in time; `corrupt`: exit code 0, and the check fails;
 * - `leak`: exit code 0, and more is mapped for DMA at its end than without the fault;
 * - `defect`: iopf did not run it.
 */
export const outcomeNames = [
  'well',
  'error',
  'missed',
  'crash',
  'hang',
  'corrupt',
  'leak',
  'defect',
] as const;
export type OutcomeName = (typeof outcomeNames)[number];
const GOOD: readonly OutcomeName[] = ['well', 'error', 'missed'];

/** A run with one fault. */
export interface SweepRun {
  readonly rule: string;
  readonly outcome: OutcomeName;
  /** `exit code 0; the check: exit code 1`. */
  readonly how: string;
  readonly exitCode: number;
  readonly seconds: number;
  /** The end of what the program and the check wrote. */
  readonly said: string;
  /** The command line that does this run again. */
  readonly again: string;
}

/** Plain data: `--json` writes it. */
export interface Sweep {
  readonly program: string;
  readonly limitSeconds: number;
  /** Rules without a time, and how often the run without a fault passed their points. */
  readonly points: readonly { readonly rule: string; readonly passed: number }[];
  readonly runs: readonly SweepRun[];
}

export function isFound({ outcome }: SweepRun): boolean {
  return !GOOD.includes(outcome);
}

/** Findings that the table shows; `--json` has all. */
const SHOWN_MOST = 20;
/** How a shell says which signal ended a program. */
const SHELL_SIGNALS = [
  constants.signals.SIGILL,
  constants.signals.SIGABRT,
  constants.signals.SIGBUS,
  constants.signals.SIGFPE,
  constants.signals.SIGSEGV,
].map((signal) => 128 + signal);

/** What there is to know about a run. */
export interface Ended {
  /** Null: iopf did not run it. */
  readonly summary: RunSummary | null;
  readonly exitCode: number;
  readonly timedOut: boolean;
  /** What is wrong with the data, in words; null: nothing, or nobody looked. */
  readonly check: string | null;
  readonly limitSeconds: number;
  /** Left mapped by the run without a fault. */
  readonly mappedBytesEnd: number;
}

/** The fault's rule is the last of the run. */
export function outcomeOf(ended: Ended): Pick<SweepRun, 'outcome' | 'how'> {
  const { check, exitCode, limitSeconds, mappedBytesEnd, summary, timedOut } = ended;
  if (timedOut) return { outcome: 'hang', how: `no end in ${limitSeconds} s` };
  if (summary === null) return { outcome: 'defect', how: `iopf: exit code ${exitCode}` };
  const how = howItEnded(summary);
  if (summary.signal !== null || SHELL_SIGNALS.includes(exitCode)) return { outcome: 'crash', how };
  if (summary.injected.at(-1)?.count === 0) return { outcome: 'missed', how };
  if (exitCode !== 0) return { outcome: 'error', how };
  if (check !== null) return { outcome: 'corrupt', how: `${how}; the check: ${check}` };
  const left = summary.mappedBytesEnd ?? 0;
  if (left > mappedBytesEnd)
    return {
      outcome: 'leak',
      how: `${how}; mapped at the end: ${formatSize(left)}, without the fault ${formatSize(mappedBytesEnd)}`,
    };
  return { outcome: 'well', how };
}

/** The table for people, and what was found. */
export function formatSweep({ points, program, runs }: Sweep): string {
  const found = runs.filter(isFound);
  const columns = outcomeNames.filter(
    (name) => name === 'well' || name === 'error' || runs.some(({ outcome }) => outcome === name),
  );
  const titles = ['point', 'passed', 'runs', ...columns];
  const rows = points.map(({ passed, rule }) => {
    const own = runs.filter((run) => ruleOf(run.rule) === rule);
    const counts = columns.map((name) => own.filter(({ outcome }) => outcome === name).length);
    return [rule, `${passed}`, `${own.length}`, ...counts.map((count) => `${count || '-'}`)];
  });
  const widths = titles.map((title, at) =>
    Math.max(title.length, ...rows.map((row) => row[at]!.length)),
  );
  const line = (row: readonly string[]): string =>
    `  ${row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!))).join('  ')}`;
  const lines = found
    .slice(0, SHOWN_MOST)
    .flatMap(({ again, how, outcome, rule }) => [`  ${outcome}: ${rule}: ${how}`, `    ${again}`]);
  const more = found.length - SHOWN_MOST;
  const head = `iopf: ${printable(program)}: ${runs.length} runs with a fault each: ${found.length === 0 ? 'nothing found' : `${found.length} found`}`;
  return [
    head,
    line(titles),
    ...rows.map(line),
    ...lines,
    ...(more > 0 ? [`  and ${more} more: --json has all`] : []),
  ].join('\n');
}

/** A run's rule without its time: `nvme:cmd=never` of `nvme:cmd:3=never`. */
export function ruleOf(rule: string): string {
  return rule.replace(/^([^=@]*):\d+/, '$1');
}
