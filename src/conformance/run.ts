/** Replays whole files and tells what differed. */
import { type KernelVersion, kernelVersions } from '../abi/kernel.js';
import { formatStruct } from '../abi/layout.js';
import { notYet } from './not-yet.js';
import { replayCase } from './replay.js';
import { requestLayout, requestName } from './request-names.js';
import {
  type Answer,
  type CaseFilter,
  type Difference,
  everyCase,
  hexBytes,
  readVectors,
  type VectorCase,
  type VectorFile,
  type VectorStep,
} from './vectors.js';

export interface CaseResult {
  readonly file: string;
  readonly name: string;
  readonly differences: readonly Difference[];
  /** The replay itself broke: a bug of ours. */
  readonly error: Error | null;
  /** What it needs that is not there yet: it was not replayed. */
  readonly notYet: string | null;
  readonly steps: number;
}

export interface FileResult {
  readonly path: string;
  /**
   * The kernel that was replayed: the one asked for, or where the file has no answers of it the one
   * it was recorded on.
   */
  readonly kernel: KernelVersion;
  readonly cases: readonly CaseResult[];
}

/** Replays cases of a file. */
export function runFile(
  path: string,
  asked: KernelVersion,
  wanted: CaseFilter = everyCase,
): FileResult {
  const file = readVectors(path);
  const kernel = recordedKernel(file, asked);
  const cases = file.cases
    .filter(({ name }) => wanted(name))
    .map((each) => runCase(path, file, each, kernel));
  return { path, kernel, cases };
}

/** `boot` is `main-6.1`; a file that was recorded on other kernels, too, lists them. */
export function recordedKernel(file: VectorFile, asked: KernelVersion): KernelVersion {
  const { boot, otherKernels } = file;
  if (Array.isArray(otherKernels) && otherKernels.includes(asked)) return asked;
  return kernelVersions.find((kernel) => boot.endsWith(`-${kernel}`)) ?? asked;
}

function runCase(
  path: string,
  file: VectorFile,
  vectorCase: VectorCase,
  kernel: KernelVersion,
): CaseResult {
  const lacks = notYet(vectorCase);
  const { name, steps } = vectorCase;
  const result = { file: path, name, differences: [], error: null, notYet: lacks };
  const counted = { ...result, steps: steps.length };
  if (lacks !== null) return counted;
  try {
    return { ...counted, differences: replayCase(file, vectorCase, kernel) };
  } catch (error) {
    return { ...counted, error: error as Error };
  }
}

export function failed(result: CaseResult): boolean {
  return result.error !== null || result.differences.length > 0;
}

/**
 * What went wrong in a case: each step that differs, what was asked, what was expected and what
 * came.
 */
export function describe(result: Pick<CaseResult, 'name' | 'differences' | 'error'>): string {
  const lines = [`${result.name}:`];
  if (result.error) lines.push(`  ${result.error.stack ?? result.error.message}`);
  for (const difference of result.differences) {
    lines.push(`  step ${difference.step}: ${describeStep(difference.asked)}`);
    lines.push(`    expected ${describeAnswer(difference.expected)}`);
    lines.push(`    came     ${describeAnswer(difference.came)}`);
  }
  return lines.join('\n');
}

export function describeStep(step: VectorStep): string {
  const { op, fd, nr, arg, proc } = step;
  const who = proc ? `${proc}: ` : '';
  if (op !== 'ioctl') {
    const shown = ['path', 'addr', 'offset', 'size', 'in', 'kind', 'prot'] as const;
    const parts = shown
      .filter((key) => step[key] !== undefined)
      .map((key) => `${key}=${step[key]}`);
    return `${who}${op}(${[fd, ...parts].filter(Boolean).join(', ')})`;
  }
  return `${who}ioctl(${fd}, ${requestName(nr!, fd!)}, ${describeArgument(nr!, fd!, arg)})`;
}

function describeArgument(request: number, fd: string, arg: VectorStep['arg']): string {
  if (typeof arg !== 'object') return `${arg}`;
  if (arg.in === undefined) return arg.str === undefined ? arg.ptr! : JSON.stringify(arg.str);
  const layout = requestLayout(request, fd);
  const bytes = hexBytes(arg.in);
  return `${layout ? formatStruct(layout, bytes) : arg.in} [${bytes.length} bytes]`;
}

export function describeAnswer(answer: Partial<Answer>): string {
  return Object.entries(answer)
    .map(([key, value]) => `${key} ${value}`)
    .join(', ');
}
