/** Replays cases with system calls, in as many processes as limits and privileges ask for. */
import { spawnSync } from 'node:child_process';
import type { KernelVersion } from '../../abi/kernel.js';
import { packageFile } from '../../input/package-file.js';
import type { VectorCase } from '../vectors.js';
import type { LiveResult } from './main.js';

export interface LiveFileResult {
  readonly path: string;
  readonly kernel: KernelVersion;
  readonly results: readonly LiveResult[];
  /** Cases that were not run, and why. */
  readonly skipped: readonly {
    readonly name: string;
    readonly steps: number;
    readonly why: string;
  }[];
}

/** Where cases are replayed. */
export interface LivePlace {
  /** Why a case cannot be replayed there; null: it can. */
  obstacle(vectorCase: VectorCase): string | null;
  /** Addresses and groups in place of the recording's. */
  readonly vars: Readonly<Record<string, string>>;
  /** Cases for which this differs need processes of their own. */
  apart(vectorCase: VectorCase): string;
  /** Does `run` with the words of a command that runs the program behind them. */
  under<T>(apart: string, run: (words: readonly string[]) => T): T;
}

/** Cases that one process replays. */
interface LiveRun {
  readonly apart: string;
  readonly capIpcLock: boolean;
  readonly names: string[];
}

export function replayInProcesses(
  path: string,
  kernel: KernelVersion,
  cases: readonly VectorCase[],
  place: LivePlace,
): LiveFileResult {
  const skipped: { name: string; steps: number; why: string }[] = [];
  /**
   * Cases by place, privilege and limit (which cannot be raised again): each set is one run of the
   * replay program.
   */
  const runs = new Map<string, LiveRun>();
  for (const each of cases) {
    const { name, setup, steps } = each;
    const why = place.obstacle(each);
    if (why !== null) {
      skipped.push({ name, steps: steps.length, why });
      continue;
    }
    const apart = place.apart(each);
    const { capIpcLock, rlimitMemlock } = setup;
    // What it drops it cannot take back for the next case.
    const alone = steps.some(({ op }) => op.startsWith('dropCap')) ? name : '';
    const key = `${capIpcLock} ${rlimitMemlock} ${alone} ${apart}`;
    const run = runs.get(key) ?? { apart, capIpcLock, names: [] };
    run.names.push(name);
    runs.set(key, run);
  }
  const results = [...runs.values()].flatMap((run) =>
    place.under(run.apart, (words) => replay(path, kernel, run, place.vars, words)),
  );
  return { path, kernel, results, skipped };
}

function replay(
  path: string,
  kernel: KernelVersion,
  run: LiveRun,
  vars: LivePlace['vars'],
  under: readonly string[],
): LiveResult[] {
  const privilege = run.capIpcLock
    ? []
    : ['setpriv', '--bounding-set=-ipc_lock', '--inh-caps=-ipc_lock'];
  const replayer = packageFile('dist/src/conformance/live/main.js');
  const program = [process.execPath, replayer, kernel, path, JSON.stringify(vars), ...run.names];
  const [command, ...words] = [...under, ...privilege, ...program];
  const { stdout, stderr, status } = spawnSync(command!, words, {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    timeout: 120_000,
  });
  const results = stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as LiveResult);
  if (status !== 0 || results.length !== run.names.length)
    throw new Error(
      `the replay of ${path} ended with ${status} after ${results.length} cases: ${stderr}`,
    );
  return results;
}
