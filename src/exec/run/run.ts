/**
 * `iopf exec`, the main thread's part: starts the engine's thread and the launcher, passes signals
 * on, and reaps the program.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { UserError } from '../../input/user-error.js';
import type { LiveMessage, LiveSource } from '../../live/live.js';
import {
  allocateNative,
  close,
  eventfd,
  exitNow,
  fcntl,
  must,
  O_CLOEXEC,
  pipe2,
  prctl,
  write,
} from '../../mm/process/libc.js';
import type { Limit } from '../../mm/process/limits.js';
import type { Picture } from '../../trace/live-picture.js';
import { type Architecture, architecture } from '../arch/index.js';
import { LiveLink } from '../live/link.js';
import { standStill } from '../process/reaper.js';
import { carryOut } from '../reclaim/page-out.js';
import { buildFilter, type DescriptorWindow } from '../seccomp/filter.js';
import { makeSocketPair } from './descriptor-message.js';
import type { EngineOptions, MainThreadRequest } from './engine.js';
import type { EngineMessage } from './engine-thread.js';
import type { ExecOptions } from './exec-options.js';
import { startGuard } from './guard.js';
import {
  callersDescriptorLimit,
  cannotRun,
  checkHost,
  descriptorWindow,
  findProgram,
  inheritedDescriptors,
  isInForeground,
} from './host-machine.js';
import type { LaunchRequest } from './launcher.js';
import type { RunSummary } from './summary.js';
import { tell } from './tell.js';

const PR_SET_CHILD_SUBREAPER = 36;
const F_GETFL = 3;
/** What a terminal sends to the whole foreground group: the program gets its own then. */
const interruptSignals = ['SIGINT', 'SIGQUIT'] as const;
/** So long an engine that was asked to end may be still before it is given up. */
const STUCK_MS = 3000;
const passedSignals = ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;

const scratch = allocateNative(16);
const scratchInts = new Int32Array(scratch.bytes.buffer, 0, 4);

export interface RunResult {
  readonly summary: RunSummary;
  /** What a report draws, where it was asked for. */
  readonly picture: Picture | null;
}

/** Who looks on while a program runs. */
export interface RunWatcher {
  /**
   * The run is about to begin. What this opens is not inherited by the program. Throws UserError
   * where the run shall not begin.
   */
  begin(source: LiveSource): Promise<void>;
  tell(message: LiveMessage): void;
}

/** Runs a program on emulated VFIO to its end. Throws UserError where it cannot begin. */
export async function runProgram(
  options: ExecOptions,
  watcher: RunWatcher | null = null,
): Promise<RunResult> {
  checkHost();
  const arch = architecture(process.arch)!;
  // What the caller has open: looked at before the view opens more.
  const inherit = inheritedDescriptors();
  const file = findProgram(options.program);
  const limit = callersDescriptorLimit();
  const window = descriptorWindow(limit);
  const caller: Caller = { inherit, file, limit, window };
  if (watcher === null) return runFor(options, arch, caller, null);
  const live = new LiveLink(arch, (message) => watcher.tell(message));
  try {
    await watcher.begin(live);
    return await runFor(options, arch, caller, live);
  } finally {
    live.close();
  }
}

/** What comes from who called iopf. */
interface Caller {
  readonly inherit: readonly number[];
  /** The program's file. */
  readonly file: string;
  readonly limit: Limit;
  readonly window: DescriptorWindow;
}

async function runFor(
  options: ExecOptions,
  arch: Architecture,
  { inherit, file, limit, window }: Caller,
  live: LiveLink | null,
): Promise<RunResult> {
  // Orphans of the program become children of this process, which so may go on reading their
  // memory (Yama) and can reap them.
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);

  const [report, launcherReport] = makeSocketPair();
  const guardPipe = makePipe();
  const guard = startGuard(guardPipe.read);
  close(guardPipe.read);
  const stopFd = must('eventfd', eventfd(0, O_CLOEXEC));
  const started = performance.now();
  let reportInProgram = 3;
  while (inherit.includes(reportInProgram)) reportInProgram++;
  const launch: LaunchRequest = {
    file,
    filter: Buffer.from(buildFilter(arch, window, options.traps && arch.traps)).toString('base64'),
    seccompNumber: arch.nr.seccomp,
    reportFd: reportInProgram,
    inherit: [0, 1, 2, ...inherit],
    descriptorLimit: limit,
    statusFlags: [0, 1, 2].map((fd) => fcntl(fd, F_GETFL, 0)),
  };
  const program = await startLauncher(
    launch,
    [options.program, ...options.arguments],
    inherit,
    launcherReport,
  );
  close(launcherReport);
  const engineOptions: EngineOptions = {
    exec: options,
    window,
    reportFd: report,
    stopFd,
    guardFd: guardPipe.write,
    guardPid: guard.pid ?? 0,
    pulse: new Int32Array(new SharedArrayBuffer(4)),
    live: live?.engine ?? null,
  };
  const worker = startEngine(engineOptions, program);
  const stopPassing = passSignals(program, stopFd, engineOptions.pulse);
  const ended = endOf(program);
  const message = await endOfEngine(worker, arch);
  await live?.over;
  if (message.kind !== 'done') program.kill('SIGKILL');
  const { exitCode, signal } = await ended;
  const wallSeconds = Math.round(performance.now() - started) / 1000;
  stopPassing();
  // Without this word the guard ends whatever still runs: nobody would answer it any more.
  if (message.kind === 'done' && !message.stopped) write(guardPipe.write, putText('end\n'), 4);
  close(guardPipe.write);
  close(report);
  close(stopFd);
  if (message.kind === 'refused') throw new UserError(message.message, message.exitCode);
  if (message.kind === 'done') message.missing.forEach(tell);
  if (message.kind === 'bug') throw new Error(`defect in iopf: ${message.message}`);
  const summary = {
    program: options.program,
    exitCode,
    signal,
    iopf: options.iopf,
    premap: options.premapPages,
    kernel: options.kernel,
    ...message.summary,
    wallSeconds,
  };
  return { summary, picture: message.picture };
}

/** The exit code that stands for how the program ended: its own, or 128 + signal. */
export function exitCodeOf(run: RunSummary): number {
  if (run.signal !== null) return 128 + constants.signals[run.signal as NodeJS.Signals];
  return run.exitCode ?? 0;
}

/**
 * Where it cannot begin, the program ends: nobody would answer it, and it would keep iopf alive.
 */
function startEngine(options: EngineOptions, program: ChildProcess): Worker {
  try {
    return new Worker(new URL('./engine-thread.js', import.meta.url), {
      workerData: options,
      transferList: options.live === null ? [] : [options.live],
      // Else Node opens stdout and stderr, and makes pipes that the program shares non-blocking.
      stdout: true,
      stderr: true,
    });
  } catch (error) {
    program.kill('SIGKILL');
    throw error;
  }
}

/** Throws UserError where the host makes no process of it. */
async function startLauncher(
  launch: LaunchRequest,
  argv: readonly string[],
  inherit: readonly number[],
  reportFd: number,
): Promise<ChildProcess> {
  const stdio: (number | 'inherit' | 'ignore')[] = ['inherit', 'inherit', 'inherit'];
  for (let fd = 3; fd <= Math.max(launch.reportFd, ...inherit); fd++)
    stdio.push(fd === launch.reportFd ? reportFd : inherit.includes(fd) ? fd : 'ignore');
  const launcher = fileURLToPath(new URL('./launcher.js', import.meta.url));
  try {
    const program = spawn(process.execPath, [launcher, JSON.stringify(launch), ...argv], { stdio });
    // Some errors Node throws, of others it tells later.
    await once(program, 'spawn');
    return program;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw cannotRun(argv[0]!, code!, ` for its launcher, ${process.execPath}`);
  }
}

function endOf(program: ChildProcess): Promise<{ exitCode: number | null; signal: string | null }> {
  return new Promise((resolve, reject) => {
    program.on('error', reject);
    program.on('exit', (exitCode, signal) => resolve({ exitCode, signal }));
  });
}

function endOfEngine(
  worker: Worker,
  arch: Architecture,
): Promise<Exclude<EngineMessage, MainThreadRequest>> {
  return new Promise((resolve) => {
    worker.on('message', (message: EngineMessage) => {
      if (message.kind === 'pageout') carryOut(message, arch);
      else if (message.kind === 'hold') standStill(message);
      else resolve(message);
    });
    worker.on('error', (error) => resolve({ kind: 'bug', message: error.stack ?? error.message }));
    worker.on('exit', () => resolve({ kind: 'bug', message: 'the engine ended without a word' }));
  });
}

/**
 * Passes signals to the program until the returned function is called. Once it has exited and only
 * others are served, those that ask to end stop the run. Where the engine itself hangs then, in a
 * file or a disk of the host, the run ends without it.
 */
function passSignals(program: ChildProcess, stopFd: number, pulse: Int32Array): () => void {
  const hasExited = (): boolean => program.exitCode !== null || program.signalCode !== null;
  let watch: NodeJS.Timeout | undefined;
  const stop = (): void => {
    scratch.bytes.fill(0, 0, 8);
    scratch.bytes[0] = 1;
    write(stopFd, scratch.address, 8);
  };
  const endIfStuck = (signal: NodeJS.Signals): void => {
    const before = Atomics.load(pulse, 0);
    clearTimeout(watch);
    watch = setTimeout(() => {
      if (Atomics.load(pulse, 0) !== before) return;
      tell(`the engine does not answer: a file of the host takes its time; ended by ${signal}`);
      program.kill('SIGKILL');
      exitNow(128 + constants.signals[signal]); // What else there is the guard ends.
    }, STUCK_MS);
  };
  const interrupt = (signal: NodeJS.Signals): void => {
    if (hasExited()) stop();
    // A terminal tells the whole foreground group, others tell iopf alone.
    else if (!isInForeground()) program.kill(signal);
    endIfStuck(signal);
  };
  // A job that is stopped must stop as a whole, or the shell waits for it.
  const suspend = (): void => void process.kill(process.pid, 'SIGSTOP');
  const pass = (signal: NodeJS.Signals): void => {
    if (!hasExited()) program.kill(signal);
    if (signal !== 'SIGTERM' && signal !== 'SIGHUP') return;
    if (hasExited()) stop();
    endIfStuck(signal);
  };
  for (const signal of interruptSignals) process.on(signal, interrupt);
  for (const signal of passedSignals) process.on(signal, pass);
  process.on('SIGTSTP', suspend);
  return () => {
    clearTimeout(watch);
    for (const signal of interruptSignals) process.off(signal, interrupt);
    for (const signal of passedSignals) process.off(signal, pass);
    process.off('SIGTSTP', suspend);
  };
}

function makePipe(): { read: number; write: number } {
  must('pipe2', pipe2(scratch.address, O_CLOEXEC));
  return { read: scratchInts[0]!, write: scratchInts[1]! };
}

function putText(text: string): number {
  scratch.bytes.set(Buffer.from(text));
  return scratch.address;
}
