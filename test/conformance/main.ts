/** `npm run conformance -- [DIR|FILE…] [--kernel K] [--case NAME]`: replays vectors and prints what differs. */
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { DEFAULT_KERNEL, type KernelVersion, kernelVersions } from '../../src/vfio/kernel.js';
import { describe, failed, runFile, vectorFiles } from './run.js';

/** Where the vectors lie, seen from the project's root. */
const VECTORS = 'test/vectors';

function main(): void {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { kernel: { type: 'string', default: DEFAULT_KERNEL }, case: { type: 'string' } },
  });
  const kernel = values.kernel as KernelVersion;
  if (!kernelVersions.includes(kernel)) {
    console.error(`conformance: no kernel ${kernel}; there are ${kernelVersions.join(', ')}`);
    process.exit(2);
  }
  let passedCount = 0;
  let failedCount = 0;
  for (const path of (positionals.length > 0 ? positionals : [VECTORS]).flatMap(vectorFiles)) {
    const result = runFile(path, kernel, values.case);
    const wrong = result.cases.filter(failed);
    const right = result.cases.length - wrong.length;
    const note = result.kernel === kernel ? '' : ` (recorded on ${result.kernel} alone, replayed so)`;
    console.log(`${basename(path)}: ${right} passed, ${wrong.length} failed${note}`);
    for (const each of wrong) console.log(describe(each));
    passedCount += right;
    failedCount += wrong.length;
  }
  console.log(`${passedCount} passed, ${failedCount} failed`);
  process.exitCode = failedCount > 0 ? 1 : 0;
}

main();
