/**
 * The replay program: runs the cases of a vector file against the /dev/vfio that it finds, ours or
 * a kernel's.
 *
 * Usage: node main.js KERNEL FILE CASE…, as root. Prints one JSON line per case: a LiveResult.
 */
import type { KernelVersion } from '../../../src/abi/kernel.js';
import {
  type Difference,
  differenceOf,
  expected,
  readVectors,
  usesTestInterface,
  type VectorCase,
  type VectorFile,
} from '../vectors.js';
import { LiveProcess } from './process.js';

export interface LiveResult {
  readonly name: string;
  readonly steps: number;
  readonly differences: readonly Difference[];
  readonly error: string | null;
}

function runCase(process: LiveProcess, vectorCase: VectorCase, kernel: KernelVersion): LiveResult {
  const differences: Difference[] = [];
  let error: string | null = null;
  try {
    process.begin(vectorCase);
    vectorCase.steps.forEach((step, index) => {
      const wanted = expected(step, kernel, usesTestInterface(vectorCase));
      const came = process.run(step);
      const difference = differenceOf(index, step, wanted, came);
      if (difference !== null) differences.push(difference);
    });
  } catch (thrown) {
    error = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  }
  process.end();
  return { name: vectorCase.name, steps: vectorCase.steps.length, differences, error };
}

const [kernel, path, ...names] = process.argv.slice(2);
const file: VectorFile = readVectors(path!);
const live = new LiveProcess(file);
for (const vectorCase of file.cases)
  if (names.includes(vectorCase.name))
    console.log(JSON.stringify(runCase(live, vectorCase, kernel as KernelVersion)));
