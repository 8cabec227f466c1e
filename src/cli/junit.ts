/** Results as test cases of JUnit's XML, which CI servers show. */
import type { Outcome } from '../check/report/outcome.js';
import type { ScenarioReport } from '../check/search/run-scenario.js';
import type { FileOutcome } from '../conformance/conformance.js';
import type { RunSummary } from '../exec/run/summary.js';
import { formatSummary, howItEnded } from '../exec/run/summary-text.js';
import { isFound, ruleOf, type Sweep } from './sweep-outcome.js';

export interface TestCase {
  readonly group: string;
  readonly name: string;
  readonly seconds: number;
  /** In a sentence; null: it passed. */
  readonly failure: string | null;
  /** What there is to read about it. */
  readonly text: string;
}

/** A run of a program. */
export interface RunCase {
  /** `Linux 6.12, IOPF auto` */
  readonly name: string;
  readonly seconds: number;
  /** Null: iopf itself could not run it. */
  readonly summary: RunSummary | null;
  readonly exitCode: number;
}

export function caseName(kernel: string, iopf: string): string {
  return `Linux ${kernel}, IOPF ${iopf}`;
}

/** The runs of a sweep. A case fails where the fault brought out something wrong. */
export function sweepText({ program, runs }: Sweep): string {
  const cases = runs.map(
    (run): TestCase => ({
      group: ruleOf(run.rule),
      name: run.rule,
      seconds: run.seconds,
      failure: isFound(run) ? `${run.outcome}: ${run.how}` : null,
      text: `${run.outcome}: ${run.how}\nagain: ${run.again}\n${run.said}`,
    }),
  );
  return suiteText(`iopf exec --inject-each, ${program}`, cases);
}

/** The runs of a program. A case fails where the program did not exit with 0. */
export function runsText(program: string, runs: readonly RunCase[]): string {
  const cases = runs.map(({ exitCode, name, seconds, summary }): TestCase => {
    const how = summary === null ? `iopf: exit code ${exitCode}` : howItEnded(summary);
    const failure = exitCode === 0 ? null : how;
    const text = summary === null ? how : formatSummary(summary);
    return { group: program, name, seconds, failure, text };
  });
  return suiteText(`iopf exec ${program}`, cases);
}

/**
 * The scenarios of a check, a case for each, which fails where an invariant is broken; what else
 * keeps the check from passing is a case of its own.
 */
export function checkText(
  reports: readonly ScenarioReport[],
  { failures }: Outcome,
  textOf: (report: ScenarioReport) => string,
): string {
  const cases = reports.map((report): TestCase => {
    const { name, seconds, variant, violations } = report;
    const [first] = violations;
    const failure = first === undefined ? null : `${first.row}: broken: ${first.invariant}`;
    return { group: variant ?? 'iopf', name, seconds, failure, text: textOf(report) };
  });
  const rest = failures.map(
    (failure): TestCase => ({
      group: 'iopf',
      name: 'the check as a whole',
      seconds: 0,
      failure,
      text: failure,
    }),
  );
  return suiteText('iopf check', [...cases, ...rest]);
}

/** Cases of vectors; those that are skipped are left out, as the command says how many they are. */
export function conformanceText(outcomes: readonly FileOutcome[], seconds: number): string {
  const ran = outcomes.flatMap(({ cases, kernel, topic }) =>
    cases.flatMap((each) => (each.result === 'skipped' ? [] : [{ each, kernel, topic }])),
  );
  const cases = ran.map(({ each: { name, result, text }, kernel, topic }): TestCase => {
    const failure = result === 'failed' ? `not as Linux ${kernel} answers` : null;
    return { group: topic, name, seconds: seconds / ran.length, failure, text };
  });
  return suiteText('iopf conformance', cases);
}

function suiteText(name: string, cases: readonly TestCase[]): string {
  const failures = cases.filter(({ failure }) => failure !== null).length;
  const seconds = cases.reduce((sum, each) => sum + each.seconds, 0);
  const counts = `tests="${cases.length}" failures="${failures}" errors="0" time="${seconds.toFixed(3)}"`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites ${counts}>`,
    `  <testsuite name="${xml(name)}" ${counts}>`,
    ...cases.map(caseText),
    '  </testsuite>',
    '</testsuites>',
    '',
  ].join('\n');
}

function caseText({ failure, group, name, seconds, text }: TestCase): string {
  const head = `    <testcase classname="${xml(group)}" name="${xml(name)}" time="${seconds.toFixed(3)}">`;
  const failed = failure === null ? [] : [`      <failure message="${xml(failure)}"/>`];
  const said = `      <system-err>${xml(text)}</system-err>`;
  return [head, ...failed, said, '    </testcase>'].join('\n');
}

/** Text and attributes; what XML 1.0 has no place for becomes a question mark. */
function xml(text: string): string {
  return text
    .replace(/[^\t\n\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '?')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
