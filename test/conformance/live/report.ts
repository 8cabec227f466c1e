/**
 * `npm run conformance:live -- [DIR|FILE…] [--kernel K] [--case NAME]`: replays vectors with real
 * system calls.
 */
import { basename } from 'node:path';
import { conformanceOptions } from '../options.js';
import { describe } from '../run.js';
import { runLive } from './run.js';

const { kernel, only, files } = conformanceOptions();
let passed = 0;
let failed = 0;
let stepsRun = 0;
let stepsSkipped = 0;
for (const path of files) {
  const { results, skipped } = runLive(path, kernel, only);
  const wrong = results.filter(
    ({ differences, error }) => differences.length > 0 || error !== null,
  );
  const steps = results.reduce((sum, result) => sum + result.steps, 0);
  const left = skipped.reduce((sum, each) => sum + each.steps, 0);
  console.log(
    `${basename(path)}: ${results.length - wrong.length} passed, ${wrong.length} failed (${steps} steps run, ${left} skipped)`,
  );
  for (const { name, why } of skipped) console.log(`  skipped ${name}: ${why}`);
  for (const { name, differences, error } of wrong)
    console.log(describe({ name, differences, error: error === null ? null : new Error(error) }));
  passed += results.length - wrong.length;
  failed += wrong.length;
  stepsRun += steps;
  stepsSkipped += left;
}
const share = (100 * stepsRun) / Math.max(stepsRun + stepsSkipped, 1);
console.log(`${stepsRun} steps run, ${stepsSkipped} skipped: ${share.toFixed(1)} % run`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
