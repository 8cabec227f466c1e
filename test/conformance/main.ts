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
  for (const path of files) {
    const result = runFile(path, kernel, only);
    const wrong = result.cases.filter(failed);
    const right = result.cases.length - wrong.length;
    const note =
      result.kernel === kernel ? '' : ` (recorded on ${result.kernel} alone, replayed so)`;
    console.log(`${basename(path)}: ${right} passed, ${wrong.length} failed${note}`);
    for (const each of wrong) console.log(describe(each));
    passedCount += right;
    failedCount += wrong.length;
  }
  console.log(`${passedCount} passed, ${failedCount} failed`);
  process.exitCode = failedCount > 0 ? 1 : 0;
}

main();
