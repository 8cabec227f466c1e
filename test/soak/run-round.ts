/** Runs one round of the soak, and finds what it leaves behind. */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { allocateNative, waitpid } from '../../src/mm/process/libc.js';
import type { Round } from './rounds.js';

const WNOHANG = 1;
const LOOK_MS = 20;
/** What only a defect prints. */
const defect =
  /defect in iopf|^ {4}at |node:internal|^\(node:\d+\)|\b(Type|Range|Reference|System)Error\b|\bBug:/m;

/** How long, in ms, is waited until something is a fault. */
export interface Patience {
  /** Beyond the round's work, for its end. */
  readonly endMs: number;
  /** For the guard of a killed iopf to clear up. */
  readonly clearingMs: number;
}

/** Runs the round in a new folder below `above`; returns what was wrong, or null. */
export async function runRound(
  round: Round,
  above: string,
  { endMs, clearingMs }: Patience,
): Promise<string | null> {
  const folder = mkdtempSync(join(above, 'round-'));
  const temporary = join(folder, 'tmp');
  mkdirSync(temporary);
  for (const path of [folder, temporary]) chmodSync(path, 0o777); // also for another user
  for (const [name, bytes] of Object.entries(round.files)) writeFileSync(join(folder, name), bytes);
  const shared = sharedMemory();
  const out = ['stdout', 'stderr'].map((name) => openSync(join(folder, name), 'w', 0o666));
  const child = spawn('/bin/sh', ['-c', round.shell, 'sh', ...round.words], {
    cwd: folder,
    env: { ...process.env, TMPDIR: temporary },
    stdio: ['ignore', ...out] as ['ignore', number, number],
  });
  out.forEach(closeSync);
  const faults: string[] = [];
  const code = await endOf(child, round, endMs);
  if (code === null) {
    faults.push(`hangs: ${describeProcesses(descendants())}`);
    descendants().forEach(end);
  }
  const processes = await until(() => alive(child.pid!), clearingMs);
  if (processes.length > 0 && code !== null)
    faults.push(`leaves processes: ${describeProcesses(processes)}`);
  processes.forEach(end);
  await until(() => alive(child.pid!), clearingMs);
  const left = await until(() => readdirSync(temporary), processes.length > 0 ? 0 : clearingMs);
  if (left.length > 0) faults.push(`leaves files: ${left.join(', ')}`);
  const memory = sharedMemory().filter((name) => !shared.includes(name));
  if (memory.length > 0) faults.push(`leaves in /dev/shm: ${memory.join(', ')}`);
  const stdout = readFileSync(join(folder, 'stdout'), 'latin1');
  const stderr = readFileSync(join(folder, 'stderr'), 'latin1');
  if (code !== null && round.codes !== null && !round.codes.includes(code))
    faults.push(`exit code ${code}, not ${round.codes.join(' or ')}`);
  if (code === 7 && round.says !== null && stdout !== round.says)
    faults.push('does not say what it should');
  if (stdout.includes('wrong byte')) faults.push('wrong bytes');
  if (defect.test(stderr)) faults.push('a defect is told');
  if (faults.length === 0) {
    rmSync(folder, { recursive: true, force: true });
    return null;
  }
  return `${faults.join('; ')}\n${quote('stdout', stdout)}${quote('stderr', stderr)}  in ${folder}`;
}

const quote = (name: string, text: string): string =>
  text === '' ? '' : `  ${name}: ${text.slice(0, 1500).trimEnd().replaceAll('\n', '\n    ')}\n`;

/** The exit code, 128 + N for signal N, or null where it did not end in time. */
async function endOf(
  child: ChildProcess,
  round: Round,
  patienceMs: number,
): Promise<number | null> {
  const ended = new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal!]));
  });
  const stop = new AbortController();
  const late = sleep(round.workMs + patienceMs, null, { signal: stop.signal }).catch(() => null);
  if (round.kill !== null) {
    const { signal, afterMs } = round.kill;
    void sleep(afterMs, null, { signal: stop.signal }).then(
      () => child.kill(signal),
      () => undefined,
    );
  }
  try {
    return await Promise.race([ended, late]);
  } finally {
    stop.abort();
  }
}

/** Looks until there is none; what there is in the end. */
async function until<T>(look: () => T[], patienceMs: number): Promise<T[]> {
  for (let left = patienceMs; ; left -= LOOK_MS) {
    const found = look();
    if (found.length === 0 || left <= 0) return found;
    await sleep(LOOK_MS);
  }
}

/** Names of what others may leave in /dev/shm. */
function sharedMemory(): string[] {
  return readdirSync('/dev/shm').filter((name) => /iopf/.test(name));
}

/** Descendants that have not ended; reaps those orphans of ours that have. */
function alive(ours: number): number[] {
  return descendants().filter((pid) => {
    if (!isZombie(pid)) return true;
    if (pid !== ours) waitpid(pid, allocateStatus(), WNOHANG);
    return false;
  });
}

let status = 0;
function allocateStatus(): number {
  status ||= allocateNative(8).address;
  return status;
}

/** All below this process: it is the reaper of orphans. */
function descendants(of = process.pid): number[] {
  const children: number[] = [];
  try {
    for (const task of readdirSync(`/proc/${of}/task`))
      for (const word of readFileSync(`/proc/${of}/task/${task}/children`, 'latin1').split(' '))
        if (word !== '') children.push(Number(word));
  } catch {
    // It has ended meanwhile.
  }
  return children.flatMap((child) => [child, ...descendants(child)]);
}

function isZombie(pid: number): boolean {
  try {
    return /^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch {
    return true;
  }
}

function describeProcesses(pids: readonly number[]): string {
  return pids
    .map((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
        const where = readFileSync(`/proc/${pid}/wchan`, 'latin1');
        return `${pid} (${words.slice(0, 100).trim()}, in ${where})`;
      } catch {
        return `${pid} (gone)`;
      }
    })
    .join(', ');
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended meanwhile.
  }
}
