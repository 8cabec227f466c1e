/**
 * `npm run conformance -- [DIR|FILE…] [--kernel K] [--case NAME]`: replays vectors and prints what
 * differs.
 */
import { basename } from 'node:path';
import { conformanceOptions } from './options.js';
import { describe, failed, runFile } from './run.js';

function main(): void {
  const { kernel, only, files } = conformanceOptions();
  let passedCount = 0;
  let failedCount = 0;
  const lacking = new Map<string, { cases: number; steps: number }>();
  for (const path of files) {
    const result = runFile(path, kernel, only);
    const wrong = result.cases.filter(failed);
    const waiting = result.cases.filter((each) => each.notYet !== null);
    const right = result.cases.length - wrong.length - waiting.length;
    for (const { notYet, steps } of waiting) {
      const { cases, steps: others } = lacking.get(notYet!) ?? { cases: 0, steps: 0 };
      lacking.set(notYet!, { cases: cases + 1, steps: others + steps });
    }
    const note =
      result.kernel === kernel ? '' : ` (recorded on ${result.kernel} alone, replayed so)`;
    const later = waiting.length === 0 ? '' : `, ${waiting.length} not yet`;
    console.log(`${basename(path)}: ${right} passed, ${wrong.length} failed${later}${note}`);
    for (const each of wrong) console.log(describe(each));
    passedCount += right;
    failedCount += wrong.length;
  }
  for (const [needs, { cases, steps }] of lacking)
    console.log(`not yet: ${cases} cases (${steps} steps) need ${needs}`);
  console.log(`${passedCount} passed, ${failedCount} failed`);
  process.exitCode = failedCount > 0 ? 1 : 0;
}

main();
