/** Vector files replayed somewhere, and what came of each case; the face of this folder. */
import type { KernelVersion } from '../abi/kernel.js';
import { runHost } from './live/host.js';
import type { LiveFileResult } from './live/processes.js';
import { runLive } from './live/run.js';
import { describe, describeAnswer, describeStep, failed, runFile } from './run.js';
import { type CaseFilter, type Difference, topicOf } from './vectors.js';

/** `engine`: in this process; `exec`: system calls under `iopf exec`; `host`: this machine's. */
export const targets = ['engine', 'exec', 'host'] as const;
export type Target = (typeof targets)[number];

export interface CaseOutcome {
  readonly name: string;
  readonly steps: number;
  readonly result: 'passed' | 'failed' | 'skipped';
  /** Of what is skipped. */
  readonly why: string | null;
  readonly differences: readonly {
    /** From 0. */
    readonly step: number;
    readonly asked: string;
    readonly expected: string;
    readonly came: string;
  }[];
  /** Of what failed: all that there is to say. */
  readonly text: string;
}

export interface FileOutcome {
  readonly topic: string;
  /** Whose answers were expected: a file may have been recorded on one kernel alone. */
  readonly kernel: KernelVersion;
  readonly cases: readonly CaseOutcome[];
}

export interface ConformanceRequest {
  readonly target: Target;
  readonly kernel: KernelVersion;
  readonly wanted: CaseFilter;
  /** Of `host`: see `hostVars`. */
  readonly vars: Readonly<Record<string, string>>;
}

export function runVectors(path: string, request: ConformanceRequest): FileOutcome {
  const { kernel, target, vars, wanted } = request;
  if (target === 'engine') return ofEngine(path, kernel, wanted);
  return ofCalls(
    target === 'exec' ? runLive(path, kernel, wanted) : runHost(path, kernel, wanted, vars),
  );
}

function ofEngine(path: string, asked: KernelVersion, wanted: CaseFilter): FileOutcome {
  const { cases, kernel } = runFile(path, asked, wanted);
  return {
    topic: topicOf(path),
    kernel,
    cases: cases.map((each) => {
      const { differences, name, notYet, steps } = each;
      if (notYet !== null) return skippedCase(name, steps, `not yet: ${notYet}`);
      return ranCase(name, steps, differences, failed(each) ? describe(each) : null);
    }),
  };
}

function ofCalls({ kernel, path, results, skipped }: LiveFileResult): FileOutcome {
  const ran = results.map(({ differences, error, name, steps }) => {
    const isWrong = differences.length > 0 || error !== null;
    const thrown = error === null ? null : Object.assign(new Error(error), { stack: error });
    const text = isWrong ? describe({ name, differences, error: thrown }) : null;
    return ranCase(name, steps, differences, text);
  });
  const left = skipped.map(({ name, steps, why }) => skippedCase(name, steps, why));
  return { topic: topicOf(path), kernel, cases: [...ran, ...left] };
}

function skippedCase(name: string, steps: number, why: string): CaseOutcome {
  return { name, steps, result: 'skipped', why, differences: [], text: '' };
}

function ranCase(
  name: string,
  steps: number,
  differences: readonly Difference[],
  text: string | null,
): CaseOutcome {
  const told = differences.map(({ asked, came, expected, step }) => ({
    step,
    asked: describeStep(asked),
    expected: describeAnswer(expected),
    came: describeAnswer(came),
  }));
  const result = text === null ? 'passed' : 'failed';
  return { name, steps, result, why: null, differences: told, text: text ?? '' };
}
