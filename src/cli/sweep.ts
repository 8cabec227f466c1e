/** `iopf exec --inject-each`: a run without, then one for each point with a fault just there. */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RunSummary } from '../exec/run/summary.js';
import { howItEnded } from '../exec/run/summary-text.js';
import { spread, withTime } from '../inject/sweep.js';
import { printable } from '../input/printable.js';
import { UserError } from '../input/user-error.js';
import { readSummary, Stop } from './child-runs.js';
import { shellLine } from './inject.js';
import { progressLine } from './progress.js';
import { SweepFile } from './sweep-file.js';
import { outcomeOf, type Sweep, type SweepRun } from './sweep-outcome.js';

export interface SweepRequest {
  /** Rules without a time. */
  readonly rules: readonly string[];
  /** Options of each run. */
  readonly options: readonly string[];
  readonly command: readonly string[];
  /** A shell command that says whether the data is right; null: nobody looks. */
  readonly check: string | null;
  readonly jobs: number;
  /** Seconds for a run; null: ten times what the one without a fault took, at least ten. */
  readonly limitSeconds: number | null;
  /** Runs of a rule. */
  readonly most: number;
  /** Where results are kept, and those of before are; null: nowhere. */
  readonly resume: string | null;
  readonly tellsProgress: boolean;
}

/** Where a run's program and its check find a folder of their own. */
const FOLDER_VARIABLE = 'IOPF_RUN';
const LIMIT_LEAST_SECONDS = 10;
const LIMIT_FACTOR = 10;
/** How long a program may take to end at SIGTERM. */
const GRACE_MS = 3000;
const SAID_MOST = 2000;

interface Run {
  readonly exitCode: number;
  readonly summary: RunSummary | null;
  readonly seconds: number;
  readonly timedOut: boolean;
  readonly check: string | null;
  readonly said: string;
}

/** Throws UserError where the program does not end well without a fault. */
export async function runSweep(request: SweepRequest): Promise<Sweep> {
  const folder = mkdtempSync(join(tmpdir(), 'iopf-sweep-'));
  const stop = new Stop();
  try {
    return await sweepIn(folder, request, stop);
  } finally {
    stop.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function sweepIn(folder: string, request: SweepRequest, stop: Stop): Promise<Sweep> {
  const { command, jobs, most, options, resume } = request;
  const program = command[0]!;
  const file =
    resume === null ? null : new SweepFile(resume, [...options, '--', ...command], request);
  const start = file?.start ?? (await reference(folder, request, stop));
  file?.begin(start);
  const { limitSeconds, mappedBytesEnd, points } = start;
  const all = points.flatMap(({ passed, rule }) =>
    spread(passed, most).map((time) => withTime(rule, time)),
  );
  const done = new Map((file?.runs ?? []).map((run) => [run.rule, run]));
  const left = all.filter((rule) => !done.has(rule));
  const progress = request.tellsProgress ? progressLine() : null;
  const work = async (): Promise<void> => {
    for (let rule = left.shift(); rule !== undefined; rule = left.shift()) {
      const words = ['--inject', rule];
      const run = await runOnce(folder, words, limitSeconds, request, stop);
      if (stop.signal !== null) return;
      const { exitCode, said, seconds } = run;
      const outcome = outcomeOf({ ...run, limitSeconds, mappedBytesEnd });
      const again = shellLine(['iopf', 'exec', ...options, ...words, '--', ...command]);
      const result: SweepRun = { rule, ...outcome, exitCode, seconds, said, again };
      done.set(rule, result);
      file?.add(result);
      progress?.show(`${result.outcome}: ${rule}`, done.size / all.length);
    }
  };
  await Promise.all(Array.from({ length: Math.min(jobs, all.length) }, work));
  progress?.clear();
  const runs = all.flatMap((rule) => done.get(rule) ?? []);
  if (stop.signal !== null)
    throw new UserError(
      `ended by ${stop.signal} after ${runs.length} of ${all.length} runs` +
        (resume === null ? '; --resume FILE would have kept them' : `; ${resume} has them`),
    );
  return { program, limitSeconds, points, runs };
}

/** What a sweep knows before its first fault. */
export interface SweepStart {
  readonly limitSeconds: number;
  readonly mappedBytesEnd: number;
  readonly points: Sweep['points'];
}

/** The run without a fault, in which the points are counted. */
async function reference(folder: string, request: SweepRequest, stop: Stop): Promise<SweepStart> {
  const { command, limitSeconds, rules } = request;
  const words = rules.flatMap((rule) => ['--inject', withTime(rule, 0)]);
  const { check, exitCode, said, seconds, summary } = await runOnce(
    folder,
    words,
    Number.POSITIVE_INFINITY,
    request,
    stop,
  );
  const how = summary === null ? `iopf: exit code ${exitCode}` : howItEnded(summary);
  const lastLine = said.trimEnd().split('\n').at(-1)!;
  if (summary === null || exitCode !== 0 || check !== null)
    throw new UserError(
      `--inject-each: ${printable(command[0]!)} does not end well without a fault: ` +
        (check === null ? how : `the check: ${check}`) +
        (lastLine === '' ? '' : `; it said: ${printable(lastLine)}`),
    );
  const own = summary.injected.slice(-rules.length);
  return {
    limitSeconds: limitSeconds ?? Math.max(LIMIT_LEAST_SECONDS, Math.ceil(LIMIT_FACTOR * seconds)),
    mappedBytesEnd: summary.mappedBytesEnd ?? 0,
    points: rules.map((rule, at) => ({ rule, passed: own[at]!.passed })),
  };
}

async function runOnce(
  folder: string,
  words: readonly string[],
  limitSeconds: number,
  { check, command, options }: SweepRequest,
  stop: Stop,
): Promise<Run> {
  const own = mkdtempSync(join(folder, 'run-'));
  const [data, json] = [join(own, 'data'), join(own, 'summary.json')];
  mkdirSync(data);
  const env = { ...process.env, [FOLDER_VARIABLE]: data };
  const output = openSync(join(own, 'output'), 'a');
  const stdio = ['ignore', output, output] as const;
  const started = performance.now();
  const inTime = async (file: string, given: readonly string[]): Promise<number | null> => {
    const child = spawn(file, given, { stdio: [...stdio], env });
    let timedOut = false;
    const timers: NodeJS.Timeout[] = [];
    if (limitSeconds < Number.POSITIVE_INFINITY)
      timers.push(
        setTimeout(() => {
          timedOut = true;
          child.kill('SIGTERM');
          timers.push(setTimeout(() => child.kill('SIGKILL'), GRACE_MS));
        }, limitSeconds * 1000),
      );
    const code = await stop.over(child);
    timers.forEach(clearTimeout);
    return timedOut ? null : code;
  };
  try {
    const iopf = [process.argv[1]!, 'exec', ...options, ...words, '--json', json, '--quiet'];
    const exitCode = await inTime(process.execPath, [...iopf, '--', ...command]);
    const summary = readSummary(json);
    const seconds = Math.round(performance.now() - started) / 1000;
    let wrong: string | null = null;
    if (exitCode === 0 && check !== null) {
      const code = await inTime('sh', ['-c', check]);
      if (code !== 0) wrong = code === null ? `no end in ${limitSeconds} s` : `exit code ${code}`;
    }
    const said = readFileSync(join(own, 'output'), 'utf8').slice(-SAID_MOST);
    const timedOut = exitCode === null;
    return { exitCode: exitCode ?? 124, summary, seconds, timedOut, check: wrong, said };
  } finally {
    closeSync(output);
    rmSync(own, { recursive: true, force: true });
  }
}
