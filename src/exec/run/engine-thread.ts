/**
 * The engine's thread: builds the machine, takes the listener from the launcher, and serves the run
 * to its end. Entry point of a worker; all it says to the main thread is an EngineMessage.
 */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { Bug } from '../../abi/bug.js';
import { Errno, errnoName } from '../../abi/errno.js';
import { kernelProfile } from '../../abi/kernel.js';
import { UserError } from '../../input/user-error.js';
import { Counters } from '../../iommu/observer.js';
import { allocateNative, close, errno, poll, read, syscall, write } from '../../mm/process/libc.js';
import { LivePicture, type Picture } from '../../trace/live-picture.js';
import { Recorder } from '../../trace/recorder.js';
import { tee } from '../../trace/tee.js';
import { openTrace } from '../../trace/trace-file.js';
import { type Architecture, architecture } from '../arch/arch.js';
import { FileCalls } from '../calls/file-calls.js';
import { MemoryCalls } from '../calls/memory-calls.js';
import { PathCalls } from '../calls/path-calls.js';
import { CallLog } from '../live/call-log.js';
import { Sampler } from '../live/sampler.js';
import { LiveWatch } from '../live/watch.js';
import { buildHardware } from '../machine/hardware.js';
import { openUnbind } from '../machine/unbind.js';
import { OpenFiles } from '../process/open-files.js';
import { ProcFiles } from '../process/proc-files.js';
import { ProcessTable } from '../process/process.js';
import { PageOut, type PageOutOrder } from '../reclaim/page-out.js';
import { checkMayReclaim, Reclaim } from '../reclaim/reclaim.js';
import { ReclaimScan } from '../reclaim/reclaim-scan.js';
import { ResidentMemory } from '../reclaim/resident-memory.js';
import { EventSet } from '../seccomp/event-set.js';
import type { DescriptorWindow } from '../seccomp/filter.js';
import { Listener } from '../seccomp/listener.js';
import { Supervisor } from '../seccomp/supervisor.js';
import { Background } from './background.js';
import { cannotRun } from './host-machine.js';
import type { ExecOrder } from './launch-request.js';
import { RunOutputs } from './run-outputs.js';
import { type EngineSummary, summarize } from './summary.js';
import { tell } from './tell.js';

export interface EngineOrder {
  readonly order: ExecOrder;
  readonly window: DescriptorWindow;
  /** Where the launcher reports. */
  readonly reportFd: number;
  /** Becomes readable when the run must end. */
  readonly stopFd: number;
  /** Takes lines for the guard. */
  readonly guardFd: number;
  /** The guard, which the main thread reaps; 0 where there is none. */
  readonly guardPid: number;
  /** Counts up while the engine does its rounds. */
  readonly pulse: Int32Array;
  /** Where a live view listens and asks. */
  readonly live: MessagePort | null;
}

export type EngineMessage =
  | {
      readonly kind: 'done';
      readonly summary: EngineSummary;
      /** What the report draws, where one was asked for. */
      readonly picture: Picture | null;
      /** Told to stop while processes were still served. */
      readonly stopped: boolean;
      /** What is missing of the files that the run wrote, a sentence each. */
      readonly missing: readonly string[];
    }
  /** Nothing ran: the user must change something. */
  | { readonly kind: 'refused'; readonly message: string; readonly exitCode: number }
  | PageOutOrder
  /** A defect of ours. */
  | { readonly kind: 'bug'; readonly message: string };

const HIGHEST_CALL = 512;
/** How often the loop looks after what happens without notice. */
const HOUSEKEEPING_MS = 50;
/**
 * How many of these looks there are to a sample of the program's memory; where it has more
 * processes, so many.
 */
const SAMPLE_TICKS = 5;
const POLLIN = 1;
/** Room for the longest path. */
const buffer = allocateNative(8192);
const pollWords = new Int32Array(buffer.bytes.buffer, 0, 2);
const pollShorts = new Int16Array(buffer.bytes.buffer, 0, 4);

/**
 * Reads what the launcher has to say up to a line's end; '' where it is gone. `wait` false: only
 * what is there.
 */
function readReport(fd: number, wait: boolean): string {
  let text = '';
  for (;;) {
    pollWords[0] = fd;
    pollShorts[2] = POLLIN;
    const ready = poll(buffer.address, 1, wait ? -1 : 0);
    if (ready < 0 && errno() === Errno.EINTR) continue;
    if (ready !== 1) return text;
    const got = read(fd, buffer.address + 16, 2048);
    if (got < 0 && errno() === Errno.EINTR) continue;
    if (got <= 0) return text;
    text += Buffer.from(buffer.bytes.slice(16, 16 + got)).toString();
    if (wait && text.endsWith('\n')) return text;
  }
}

/** The listener of the launcher's filter, as a descriptor of ours. Throws UserError. */
function takeListener(arch: Architecture, reportFd: number): { fd: number; pid: number } {
  const report = readReport(reportFd, true);
  const [word, pid, listener] = report.trim().split(' ');
  if (word !== 'listener')
    throw new UserError(
      report.startsWith('error ')
        ? report.slice(6).trim()
        : 'the launcher ended before the program began',
    );
  const pidfd = syscall(arch.nr.pidfd_open, Number(pid), 0, 0, 0, 0, 0);
  if (pidfd < 0) throw new UserError(`cannot open the launched process: ${errnoName(errno())}`);
  const fd = syscall(arch.nr.pidfd_getfd, pidfd, Number(listener), 0, 0, 0, 0);
  const error = errno();
  close(pidfd);
  if (fd < 0)
    throw new UserError(
      `cannot take the seccomp listener (${errnoName(error)}); a sandbox may forbid pidfd_getfd or tracing of children`,
    );
  return { fd, pid: Number(pid) };
}

/** The launcher could not become the program, which is there. */
function execFailed(program: string, code: string): UserError {
  return cannotRun(
    program,
    code,
    code === 'ENOENT' ? ' (is the interpreter missing that it names?)' : '',
  );
}

/** Everybody is gone: nothing may be mapped, pinned or in a table any more (R5.11). */
function checkNothingLeft({ mappedPages, pinnedPages, residentPages }: Counters): void {
  if (mappedPages !== 0 || pinnedPages !== 0 || residentPages !== 0)
    throw new Bug('a run left something behind', { mappedPages, pinnedPages, residentPages });
}

/** What a run came to. */
type Served = Omit<Extract<EngineMessage, { kind: 'done' }>, 'kind' | 'missing'>;

async function serve(engineOrder: EngineOrder, outputs: RunOutputs): Promise<Served> {
  const { order, window, reportFd, stopFd, guardFd, guardPid } = engineOrder;
  const arch = architecture(process.arch)!;
  const now = (): number => performance.now() * 1000;
  const counters = new Counters(now);
  const { trace: tracePath, record: recordPath } = order;
  let programPid = 0;
  const trace =
    tracePath === null
      ? null
      : outputs.add(openTrace(tracePath, now, () => ({ name: order.program, pid: programPid })));
  const { program, arguments: words, kernel, iopf, premapPages } = order;
  const header = { program, arguments: words, kernel, iopf, premap: premapPages };
  const recorder =
    recordPath === null ? null : outputs.add(new Recorder(recordPath, header, counters, now));
  const picture = order.picture ? new LivePicture(counters, now) : null;
  const watch = engineOrder.live === null ? null : new LiveWatch(counters, now);
  const hasRecorded = order.machine.groups.some(({ devices }) =>
    devices.some(({ kind }) => kind === 'recorded'),
  );
  const tellGuard = (line: string): void => {
    const bytes = Buffer.from(`${line}\n`);
    buffer.bytes.set(bytes, 16);
    write(guardFd, buffer.address + 16, bytes.length);
  };
  const hardware = buildHardware({
    announceFolder: (path) => tellGuard(`directory ${path}`),
    ...(hasRecorded ? await import('../machine/model-file.js') : {}),
    spec: order.machine,
    kernel,
    iopf,
    premapPages,
    counters,
    observer: tee([trace?.observer ?? null, recorder, picture, watch]),
  });
  try {
    const { fd, pid } = takeListener(arch, reportFd);
    programPid = pid;
    const listener = new Listener(fd);
    const files = new OpenFiles();
    const events = new EventSet(stopFd, HOUSEKEEPING_MS);
    const mayClose = (): void => {
      files.suspect = true;
    };
    const clock = (): number => performance.now();
    const log = watch === null ? null : new CallLog(listener, arch.nr.ioctl, clock);
    const { reclaimBytes, reclaimScanMs } = order;
    if (reclaimBytes !== null) checkMayReclaim(arch, pid);
    const spaceOptions = {
      copyWatcher: log,
      deviceFiles: hardware.deviceFiles,
      sharesZeroPage: !kernelProfile(kernel).zeroPageUnshared,
      countsPins: reclaimBytes !== null,
    };
    const residentMemory = new ResidentMemory();
    const processes = new ProcessTable(
      arch,
      hardware.memory,
      events,
      spaceOptions,
      [pid, guardPid],
      tellGuard,
      residentMemory,
    );
    const scan = reclaimScanMs === null ? null : new ReclaimScan(processes, reclaimScanMs, clock);
    const pageOut = new PageOut((pageOutOrder) => parentPort!.postMessage(pageOutOrder));
    const reclaim =
      reclaimBytes === null ? null : new Reclaim(processes, reclaimBytes, pageOut, tell);
    const memoryCalls = new MemoryCalls(listener, arch, processes, mayClose);
    const door = {
      openContainer: () => hardware.machine.openContainer(),
      openGroup: (number: number) => hardware.machine.openGroup(number),
      backing: hardware.backing,
    };
    const fileCalls = new FileCalls(
      listener,
      arch,
      window,
      processes,
      files,
      door,
      memoryCalls,
      events,
      log,
    );
    const pathCalls = new PathCalls(
      listener,
      arch,
      hardware.shadow,
      (group, closeOnExec, path) => fileCalls.open(group, closeOnExec, path),
      new ProcFiles(processes, files, (process, fd) => fileCalls.lookUp(process, fd)),
      () => openUnbind(hardware.machine, events),
    );
    const handlers: (() => void)[] = new Array(HIGHEST_CALL).fill(undefined);
    for (const calls of [memoryCalls, pathCalls, fileCalls])
      for (const [nr, handler] of calls.handlers) handlers[nr] = handler;
    const summary = (): EngineSummary =>
      summarize(counters, supervisor.interceptedCalls, residentMemory.summary, scan);
    const sampler =
      engineOrder.live === null || watch === null || log === null
        ? null
        : new Sampler({
            port: engineOrder.live,
            counters,
            machine: hardware.machine,
            memory: hardware.memory,
            log,
            watch,
            summary,
            now: clock,
          });
    let ticks = 0;
    const supervisor: Supervisor = new Supervisor(
      listener,
      events,
      handlers,
      processes,
      files,
      clock,
      () => {
        Atomics.add(engineOrder.pulse, 0, 1);
        outputs.tick();
        picture?.tick();
        if (++ticks % Math.max(SAMPLE_TICKS, processes.count) === 0)
          residentMemory.sample(processes.all);
        sampler?.tick();
      },
      new Background([scan, reclaim].filter((work) => work !== null)),
      log,
    );
    const stopped = supervisor.run() === 'stopped';
    sampler?.end();
    if (files.count === 0) checkNothingLeft(counters);
    const late = readReport(reportFd, false);
    if (late.startsWith('failed ')) throw execFailed(program, late.slice(7).trim());
    return {
      summary: summary(),
      stopped,
      picture: (picture ?? watch)?.picture ?? null,
    };
  } finally {
    hardware.shadow.remove();
  }
}

async function run(): Promise<EngineMessage> {
  const outputs = new RunOutputs();
  try {
    const served = await serve(workerData as EngineOrder, outputs);
    return { kind: 'done', ...served, missing: outputs.close() };
  } catch (error) {
    if (error instanceof UserError) {
      outputs.discard();
      return { kind: 'refused', message: error.message, exitCode: error.exitCode };
    }
    outputs.close(); // What they have so far is worth most now.
    return {
      kind: 'bug',
      message: error instanceof Error ? (error.stack ?? error.message) : String(error),
    };
  }
}

parentPort!.postMessage(await run());
