/**
 * `iopf exec`: starts the program and the engine, and makes the summary. The engine runs in this
 * thread, unless something else has to be done while it blocks.
 */

import { Bug } from '../../abi/bug.js';
import { O_CLOEXEC } from '../../abi/linux.js';
import { deviceKinds } from '../../device/kinds.js';
import { UserError } from '../../input/user-error.js';
import type { LiveMessage, LiveSource } from '../../live/live.js';
import {
  allocateNative,
  close,
  must,
  pipe2,
  prctl,
  syscall,
  write,
} from '../../mm/process/libc.js';
import type { Limit } from '../../mm/process/limits.js';
import type { Picture } from '../../trace/live-picture.js';
import { type Architecture, architecture } from '../arch/index.js';
import type { FailedCallCount } from '../incidents/incident-log.js';
import type { LiveLink } from '../live/link.js';
import type { LiveWire } from '../live/sampler.js';
import type { RunModules } from '../module/module-kinds.js';
import { killChild, signalNumber } from '../process/child.js';
import { buildFilter, type DescriptorWindow } from '../seccomp/filter.js';
import type { EngineOptions } from './engine.js';
import { type EngineMessage, runEngine } from './engine-message.js';
import type { ExecOptions } from './exec-options.js';
import { startGuard } from './guard.js';
import {
  callersDescriptorLimit,
  checkHost,
  descriptorWindow,
  findProgram,
  inheritedDescriptors,
} from './host-machine.js';
import { launch } from './launch.js';
import { SignalPipe } from './signals.js';
import type { FailedCall, RunSummary } from './summary.js';
import { tell } from './tell.js';
import { verdictOf } from './verdict.js';

const PR_SET_CHILD_SUBREAPER = 36;
/** As env(1) has it: iopf itself failed. */
const USAGE_OF_EXEC = 125;

const scratch = allocateNative(16);
const scratchInts = new Int32Array(scratch.bytes.buffer, 0, 4);

export interface RunResult {
  readonly summary: RunSummary;
  /** What a report draws, where it was asked for. */
  readonly picture: Picture | null;
}

/** Who looks on while a program runs. */
export interface RunWatcher {
  /** Whether it asks while the program runs: the engine then runs in a thread of its own. */
  readonly asks: boolean;
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
  if (watcher === null) return runFor(options, arch, caller, null, null);
  if (!watcher.asks && options.reclaimBytes === null) {
    const { directWire } = await import('../live/direct-wire.js');
    const wire = directWire(arch, (message) => watcher.tell(message));
    return runFor(options, arch, caller, null, wire);
  }
  const link = await import('../live/link.js');
  const live = new link.LiveLink(arch, (message) => watcher.tell(message));
  try {
    await watcher.begin(live);
    return await runFor(options, arch, caller, live, null);
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
  wire: LiveWire | null,
): Promise<RunResult> {
  // Orphans of the program become children of this process, which so may go on reading their
  // memory (Yama) and can reap them.
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);

  const modules = await modulesOf(options);
  const guardPipe = makePipe();
  startGuard(arch, guardPipe.read);
  close(guardPipe.read);
  const started = performance.now();
  // The view is served, and memory paged out, while the engine blocks. What few runs need is loaded
  // by those only, here and elsewhere: Node's threads alone take as long as iopf's own code.
  const isInThread = live !== null || options.reclaimBytes !== null || modules !== null;
  const signals = new SignalPipe(arch, !isInThread);
  let endWatch = (): void => {};
  let message: EngineMessage;
  try {
    const launched = launch(arch, {
      file,
      argv: [options.program, ...options.arguments],
      filter: buildFilter(arch, window, options.traps && arch.traps),
      inherit: [0, 1, 2, ...inherit],
      descriptorLimit: limit,
    });
    const engineOptions: EngineOptions = {
      exec: options,
      window,
      launched,
      signalFds: signals.fds,
      guardFd: guardPipe.write,
      modules,
      live: live?.engine ?? null,
    };
    try {
      if (modules !== null) endWatch = await watchModules(modules, options, arch, launched.pid);
      message = isInThread
        ? await (await import('./engine-worker.js')).runInThread(engineOptions, arch)
        : await runHere(engineOptions, wire);
      if (message.kind !== 'done') killChild(launched.pid);
      await live?.over;
    } catch (error) {
      // Nobody would answer it.
      killChild(launched.pid);
      throw error;
    }
    close(launched.reportFd);
  } finally {
    endWatch();
    signals.close();
  }
  const wallSeconds = Math.round(performance.now() - started) / 1000;
  // Without this word the guard ends whatever still runs: nobody would answer it any more.
  if (message.kind === 'done' && !message.stopped) write(guardPipe.write, putText('end\n'), 4);
  close(guardPipe.write);
  if (message.kind === 'refused') throw new UserError(message.message, message.exitCode);
  if (message.kind === 'bug') throw new Error(`defect in iopf: ${message.message}`);
  message.missing.forEach(tell);
  const devices = options.machine.groups.flatMap((group) =>
    group.devices.map(({ address, kind, options: given }) => ({ kind, address, options: given })),
  );
  const facts = {
    program: options.program,
    exitCode: message.end.exitCode,
    signal: message.end.signal,
    iopf: options.iopf,
    premap: options.premapPages,
    kernel: options.kernel,
    devices,
    model: options.times?.model ?? null,
    seed: options.inject?.seed ?? null,
    again: options.inject?.again ?? null,
    ...message.summary,
    failedCalls: await nameCalls(message.summary.failedCalls, arch),
    wallSeconds,
  };
  return { summary: { ...verdictOf(facts), ...facts }, picture: message.picture };
}

/** Devices of users; null: there are none. Throws UserError. */
async function modulesOf({ machine }: ExecOptions): Promise<RunModules | null> {
  const others = machine.groups
    .flatMap(({ devices }) => devices)
    .filter(({ kind }) => !deviceKinds.has(kind));
  if (others.length === 0) return null;
  const { findModules } = await import('../module/find.js');
  const devices = await findModules(others);
  if (devices.length === 0) return null;
  const { makeWatchWords } = await import('../module/watch-words.js');
  return { devices, words: makeWatchWords(devices.length) };
}

/** Tells of devices of users that do not return; where errors of theirs end the run, ends it. */
async function watchModules(
  modules: RunModules,
  { deviceErrors }: ExecOptions,
  arch: Architecture,
  pid: number,
): Promise<() => void> {
  const { startWatchdog } = await import('../module/watchdog.js');
  return startWatchdog(modules, (text) => {
    if (deviceErrors === 'continue') return tell(text);
    tell(`${text}; ended (--device-errors stop)`);
    // The guard ends what else runs: the engine's thread cannot be asked to.
    killChild(pid);
    // Nor does this one wait for it, as Node's own exit would.
    syscall(arch.nr.exit_group, USAGE_OF_EXEC, 0, 0, 0, 0, 0);
  });
}

/** Few runs need the names of calls. */
async function nameCalls(
  calls: readonly FailedCallCount[],
  arch: Architecture,
): Promise<readonly FailedCall[]> {
  if (calls.length === 0) return [];
  return (await import('../incidents/call-names.js')).namedCalls(calls, arch);
}

/** The exit code that stands for how the program ended: its own, or 128 + signal. */
export function exitCodeOf(run: RunSummary): number {
  if (run.signal !== null) return 128 + signalNumber(run.signal);
  return run.exitCode ?? 0;
}

function runHere(options: EngineOptions, wire: LiveWire | null): Promise<EngineMessage> {
  const pageOut = (): void => {
    throw new Bug('nobody pages out');
  };
  return runEngine(options, pageOut, wire);
}

function makePipe(): { read: number; write: number } {
  must('pipe2', pipe2(scratch.address, O_CLOEXEC));
  return { read: scratchInts[0]!, write: scratchInts[1]! };
}

function putText(text: string): number {
  scratch.bytes.set(Buffer.from(text));
  return scratch.address;
}
