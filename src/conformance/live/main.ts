/**
 * The replay program: runs the cases of a vector file against the /dev/vfio that it finds, ours or
 * a kernel's.
 *
 * Usage: node main.js KERNEL FILE VARS CASE…, as root; VARS, in JSON: addresses and groups in place
 * of the recording's. Prints one JSON line per case: a LiveResult.
 */
import type { KernelVersion } from '../../abi/kernel.js';
import {
  type Answer,
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
      const wanted = renamed(expected(step, kernel, usesTestInterface(vectorCase)));
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

/** What names a group of the recording names the one in its place. */
function renamed(answer: Answer): Answer {
  const { outText } = answer;
  const group = Object.entries(recorded.machine.vars).find(
    ([name, value]) => name.startsWith('g') && outText === `/dev/vfio/${value}`,
  );
  return group === undefined
    ? answer
    : { ...answer, outText: `/dev/vfio/${machine.vars[group[0]]}` };
}

const [kernel, path, vars, ...names] = process.argv.slice(2);
const recorded = readVectors(path!);
const machine = { ...recorded.machine, vars: { ...recorded.machine.vars, ...JSON.parse(vars!) } };
const file: VectorFile = { ...recorded, machine };
const live = new LiveProcess(file);
for (const vectorCase of file.cases)
  if (names.includes(vectorCase.name))
    console.log(JSON.stringify(runCase(live, vectorCase, kernel as KernelVersion)));
