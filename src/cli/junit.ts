/** Runs as test cases of JUnit's XML, which CI servers show. */
import type { RunSummary } from '../exec/run/summary.js';
import { formatSummary, howItEnded } from '../exec/run/summary-text.js';

export interface JunitCase {
  /** `Linux 6.12, IOPF auto` */
  readonly name: string;
  readonly seconds: number;
  /** Null: iopf itself could not run it. */
  readonly summary: RunSummary | null;
  readonly exitCode: number;
}

export function junitCase(summary: RunSummary, exitCode: number): JunitCase {
  const { iopf, kernel, wallSeconds } = summary;
  return { name: caseName(kernel, iopf), seconds: wallSeconds, summary, exitCode };
}

export function caseName(kernel: string, iopf: string): string {
  return `Linux ${kernel}, IOPF ${iopf}`;
}

/** A case fails where its program did not exit with 0. */
export function junitText(program: string, cases: readonly JunitCase[]): string {
  const failures = cases.filter(({ exitCode }) => exitCode !== 0).length;
  const seconds = cases.reduce((sum, each) => sum + each.seconds, 0);
  const counts = `tests="${cases.length}" failures="${failures}" errors="0" time="${seconds.toFixed(3)}"`;
  const suite = `name="${xml(`iopf exec ${program}`)}" ${counts}`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites ${counts}>`,
    `  <testsuite ${suite}>`,
    ...cases.map((each) => caseText(program, each)),
    '  </testsuite>',
    '</testsuites>',
    '',
  ].join('\n');
}

function caseText(program: string, { exitCode, name, seconds, summary }: JunitCase): string {
  const head = `    <testcase classname="${xml(program)}" name="${xml(name)}" time="${seconds.toFixed(3)}">`;
  const how = summary === null ? `iopf: exit code ${exitCode}` : howItEnded(summary);
  const text = summary === null ? how : formatSummary(summary);
  const failure = exitCode === 0 ? [] : [`      <failure message="${xml(how)}"/>`];
  return [head, ...failure, `      <system-err>${xml(text)}</system-err>`, '    </testcase>'].join(
    '\n',
  );
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
