/** `iopf exec --inject-each`: what is asked for, and what it writes. */
import { availableParallelism } from 'node:os';
import type { OwnPoint } from '../device/own-points.js';
import { say } from '../exec/run/tell.js';
import { RuleError } from '../inject/rule.js';
import { rulesOfSet, withTime } from '../inject/sweep.js';
import { writeOutput } from '../input/output-file.js';
import { printable } from '../input/printable.js';
import { UserError } from '../input/user-error.js';
import type { Options } from './exec.js';
import { documentOf, jsonText } from './json/document.js';
import { runSweep } from './sweep.js';
import { formatSweep, isFound } from './sweep-outcome.js';

/**
 * `words`: options of each run; `own`: points that its devices declare. Sets the exit code: 1 where
 * something was found.
 */
export async function sweepCommand(
  words: readonly string[],
  command: readonly string[],
  options: Options,
  own: readonly OwnPoint[],
): Promise<void> {
  if (options.iopf === 'all' || options.kernel === 'all')
    throw new UserError(
      '--inject-each is of one kernel and one mode: name one --kernel and --iopf',
    );
  const sweep = await runSweep({
    rules: rulesOf(options, own),
    options: words,
    command,
    check: options.eachCheck ?? null,
    jobs: options.jobs ?? availableParallelism(),
    limitSeconds: options.eachLimit ?? null,
    most: options.eachMost ?? Number.MAX_SAFE_INTEGER,
    resume: options.resume ?? null,
    tellsProgress: options.quiet !== true,
  });
  const found = sweep.runs.filter(isFound).length;
  process.exitCode = found > 0 ? 1 : 0;
  if (options.quiet !== true) say(`${formatSweep(sweep)}\n`);
  if (options.json !== undefined)
    writeOutput(options.json, jsonText(documentOf('sweep', { ...sweep, found })));
  if (options.junit !== undefined) {
    const { sweepText } = await import('./junit.js');
    writeOutput(options.junit, sweepText(sweep));
  }
}

/** Each rule once. */
function rulesOf({ injectEach = [], iopf }: Options, own: readonly OwnPoint[]): string[] {
  try {
    const rules = injectEach.flatMap((set) => rulesOfSet(set, iopf !== 'off', own));
    for (const rule of rules) withTime(rule, 0);
    return [...new Set(rules)];
  } catch (error) {
    if (error instanceof RuleError)
      throw new UserError(`--inject-each: ${printable(error.message)}`);
    throw error;
  }
}
