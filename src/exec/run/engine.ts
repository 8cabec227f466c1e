/** The engine of a run: the machine, what answers trapped calls, and the loop that serves them. */
import type { MessagePort } from 'node:worker_threads';
import { Bug } from '../../abi/bug.js';
import { kernelProfile } from '../../abi/kernel.js';
import { UserError } from '../../input/user-error.js';
import { Counters, type Observer } from '../../iommu/observer.js';
import { getLimit, RLIMIT_NOFILE } from '../../mm/process/limits.js';
import { endTransfers, pagesMayWait } from '../../mm/process/remote-transfer.js';
import type { Picture } from '../../trace/live-picture.js';
import { type Architecture, architecture } from '../arch/index.js';
import { callContext, handlersOf, setAside } from '../calls/index.js';
import { FailedCalls } from '../incidents/failed-calls.js';
import { IncidentLog } from '../incidents/incident-log.js';
import type { Injection } from '../inject/injection.js';
import { CallLog } from '../live/call-log.js';
import type { LiveWire, Sampler } from '../live/sampler.js';
import { buildHardware, type Hardware } from '../machine/hardware.js';
import { Networks } from '../machine/networks.js';
import type { RunModules } from '../module/module-kinds.js';
import { Child, type ChildEnd } from '../process/child.js';
import { Eventfds } from '../process/eventfds.js';
import { GuardReport } from '../process/guard-report.js';
import { ProcessTable } from '../process/process.js';
import { Unreadable } from '../process/unreadable.js';
import type { PageOutRequest } from '../reclaim/page-out.js';
import { reclaimWork } from '../reclaim/reclaim-work.js';
import { ResidentMemory } from '../reclaim/resident-memory.js';
import { EventSet } from '../seccomp/event-set.js';
import type { DescriptorWindow } from '../seccomp/filter.js';
import { Listener } from '../seccomp/listener.js';
import { Supervisor } from '../seccomp/supervisor.js';
import { Traps } from '../trap/traps.js';
import type { Peers } from '../vfio-user/peers.js';
import { Background } from './background.js';
import type { ExecOptions } from './exec-options.js';
import type { Launched } from './launch.js';
import { LaunchReport } from './launch-report.js';
import { NO_STALL } from './modelled-time.js';
import { RunObservers } from './run-observers.js';
import { type SignalFds, SignalRelay } from './signals.js';
import { type EngineSummary, summarize } from './summary.js';
import { tell } from './tell.js';

/** What the engine is given. */
export interface EngineOptions {
  readonly exec: ExecOptions;
  readonly window: DescriptorWindow;
  readonly launched: Launched;
  /** Where signals come. */
  readonly signalFds: SignalFds;
  /** Takes lines for the guard. */
  readonly guardFd: number;
  /** Null: no device is of a user's own. */
  readonly modules: RunModules | null;
  /** Where a live view listens and asks, from another thread. */
  readonly live: MessagePort | null;
}

/** What a run came to. */
export interface Served {
  readonly summary: EngineSummary;
  readonly end: ChildEnd;
  /** What the report draws, where one was asked for. */
  readonly picture: Picture | null;
  /** Told to stop while processes were still served. */
  readonly stopped: boolean;
  /** What is missing of the files that the run wrote, a sentence each. */
  readonly missing: readonly string[];
}

/** How often the loop looks after what happens without notice. */
const HOUSEKEEPING_MS = 50;
/**
 * How many of these looks there are to a sample of the program's memory; where it has more
 * processes, so many.
 */
const SAMPLE_TICKS = 5;

const nowMs = (): number => performance.now();
const nowUs = (): number => performance.now() * 1000;

/**
 * Serves a run to its end. `pageOut` passes requests to the thread that carries them out, `wire`
 * what happens to whoever watches. Throws UserError where nothing ran.
 */
export async function serve(
  options: EngineOptions,
  pageOut: (request: PageOutRequest) => void,
  wire: LiveWire | null,
): Promise<Served> {
  const { exec, live } = options;
  const counters = new Counters(nowUs);
  const watched = wire === null ? null : { asks: live !== null };
  const observers = new RunObservers(exec, watched, counters, nowUs);
  try {
    const served = await serveObserved(options, counters, observers, pageOut, wire);
    return { ...served, missing: observers.close() };
  } catch (error) {
    if (error instanceof UserError) observers.discard();
    else observers.close(); // What they have so far is worth most now.
    throw error;
  }
}

async function serveObserved(
  options: EngineOptions,
  counters: Counters,
  observers: RunObservers,
  pageOut: (request: PageOutRequest) => void,
  wire: LiveWire | null,
): Promise<Omit<Served, 'missing'>> {
  const { exec, guardFd } = options;
  const guard = new GuardReport(guardFd);
  const { startedMs } = observers;
  const incidents = new IncidentLog(nowMs, startedMs);
  const has = (name: string): boolean =>
    exec.machine.groups.some(({ devices }) => devices.some(({ kind }) => kind === name));
  const peers = has('vfio-user')
    ? new (await import('../vfio-user/peers.js')).Peers(nowMs)
    : undefined;
  const injection = await beginInjection(exec, incidents, observers.observer);
  const moduleKind = await loadModules(options);
  const networks = new Networks(nowUs, observers.capture);
  let hardware: Hardware | null = null;
  try {
    hardware = buildHardware({
      ...(has('recorded') ? await import('../machine/model-file.js') : {}),
      spec: exec.machine,
      kernel: exec.kernel,
      iopf: exec.iopf,
      premapPages: exec.premapPages,
      counters,
      observer: observers.observer,
      incidents,
      networks,
      peers,
      injection,
      moduleKind,
      nowUs,
      note: tell,
      announceFolder: (path) => guard.directory(path),
      traps: exec.traps && architecture(process.arch)!.traps,
    });
    incidents.watch(hardware.machine);
    const sampling =
      wire === null ? null : { wire, Sampler: (await import('../live/sampler.js')).Sampler };
    const parts = {
      ...{ counters, observers, incidents, injection, hardware, networks, peers, guard, pageOut },
      sampling,
    };
    return new Engine(options, parts).run();
  } finally {
    hardware?.shadow.remove();
    networks.close();
  }
}

/** Kinds of devices of users; undefined: there are none, and nothing of them is loaded. */
async function loadModules({ exec, modules }: EngineOptions) {
  if (modules === null) return undefined;
  const { moduleKinds } = await import('../module/module-kinds.js');
  return moduleKinds(modules, exec.deviceErrors);
}

/** Null: the run has no faults on purpose, and nothing of them is loaded. */
async function beginInjection(
  { inject }: ExecOptions,
  incidents: IncidentLog,
  observer: Observer | null,
): Promise<Injection | null> {
  if (inject === null) return null;
  const { Injection } = await import('../inject/injection.js');
  const startedMs = nowMs();
  return new Injection(
    inject,
    () => nowMs() - startedMs,
    (rule) => {
      incidents.faultMade(rule);
      observer?.faultMade?.(rule);
    },
  );
}

interface EngineParts {
  readonly counters: Counters;
  readonly observers: RunObservers;
  readonly incidents: IncidentLog;
  readonly injection: Injection | null;
  readonly hardware: Hardware;
  readonly networks: Networks;
  readonly peers: Peers | undefined;
  readonly guard: GuardReport;
  readonly pageOut: (request: PageOutRequest) => void;
  readonly sampling: { readonly wire: LiveWire; readonly Sampler: typeof Sampler } | null;
}

class Engine {
  private readonly arch: Architecture = architecture(process.arch)!;
  private readonly report: LaunchReport;
  private readonly program: Child;
  private readonly residentMemory = new ResidentMemory();
  private ticks = 0;

  constructor(
    private readonly options: EngineOptions,
    private readonly parts: EngineParts,
  ) {
    this.report = new LaunchReport(options.launched);
    this.program = new Child(options.launched.pid);
  }

  run(): Omit<Served, 'missing'> {
    const { arch, program, residentMemory, report } = this;
    const { exec, signalFds, window } = this.options;
    const { counters, guard, hardware, incidents, injection, networks, observers } = this.parts;
    const { pageOut, peers, sampling } = this.parts;
    const { watch } = observers;
    const { pid } = program;
    observers.pid = pid;
    const listener = new Listener(report.takeListener(arch));
    const events = new EventSet(arch, signalFds.pipe, HOUSEKEEPING_MS);
    program.watch(arch, events);
    const log = watch === null ? null : new CallLog(listener, arch.nr.ioctl, nowMs);
    const unreadable = new Unreadable(tell);
    const failed = new FailedCalls(listener, arch.nr.ioctl, incidents, unreadable);
    const kernel = kernelProfile(exec.kernel);
    // The last to leave says it.
    let mappedPagesEnd: number | null = null;
    const processes = new ProcessTable({
      architecture: arch,
      memory: hardware.memory,
      events,
      space: {
        copyWatcher: log,
        deviceFiles: hardware.deviceFiles,
        sharesZeroPage: !kernel.zeroPageUnshared,
        pinsDirtyFiles: kernel.pinsDirtyFiles,
        countsPins: exec.reclaimBytes !== null || exec.machine.vfio.iommufdTest,
        spaces: () => [...hardware.memory.all],
        taskSize: arch.taskSize,
      },
      guard,
      residentMemory,
      lastLeaves: () => {
        mappedPagesEnd = counters.mappedPages;
      },
    });
    const { works, scan } = reclaimWork(exec, arch, processes, pid, pageOut, nowMs);
    const context = callContext({
      call: listener,
      architecture: arch,
      window,
      nodes: hardware.nodes,
      processes,
      events,
      eventfds: new Eventfds(arch, getLimit(RLIMIT_NOFILE).soft, tell),
      guard,
      log,
      failed,
      unreadable,
      pagesMayWait: () => pagesMayWait(supervisor),
      tell,
    });
    const { files } = context;
    const traps = exec.traps && arch.traps ? new Traps(context, hardware.functions) : null;
    const summary = (): EngineSummary =>
      summarize({
        counters,
        mappedPagesEnd,
        files,
        interceptedCalls: supervisor.interceptedCalls,
        memory: residentMemory.summary,
        scan,
        incidents: incidents.counts,
        injected: injection?.injected ?? [],
        stall: observers.modelled?.summary ?? NO_STALL,
      });
    const { machine, memory } = hardware;
    const sampler =
      watch === null || log === null || sampling === null
        ? null
        : new sampling.Sampler({
            wire: sampling.wire,
            startedMs: observers.startedMs,
            events: () => incidents.events,
            counters,
            machine,
            memory,
            log,
            watch,
            summary,
            architecture: arch,
            nowMs,
          });
    const supervisor: Supervisor = new Supervisor({
      listener,
      events,
      handlers: handlersOf(
        context,
        hardware,
        { ...traps?.first, ...injection?.looks(context) },
        traps,
      ),
      processes,
      files,
      guard,
      program,
      signals: new SignalRelay(signalFds, program),
      nowMs,
      housekeeping: () => {
        observers.tick();
        this.sampleMemory(processes);
        sampler?.tick();
      },
      background: new Background([...works, networks]),
      log,
      failed,
      setAside: () => setAside(context),
      traps,
    });
    peers?.serveBy({
      events,
      serveUntil: (waited, untilMs) => supervisor.serveUntil(waited, untilMs),
    });
    const stopped = supervisor.run() === 'stopped';
    endTransfers();
    sampler?.end();
    if (files.count === 0) checkNothingLeft(counters);
    report.checkStarted(exec.program);
    // The last task has left its filter: at most the program is a zombie still.
    const end = program.reap(true)!;
    return { summary: summary(), end, stopped, picture: observers.picture };
  }

  private sampleMemory(processes: ProcessTable): void {
    if (++this.ticks % Math.max(SAMPLE_TICKS, processes.count) === 0)
      this.residentMemory.sample(processes.all);
  }
}

/** Everybody is gone: nothing may be mapped, pinned or in a table any more (R5.11). */
function checkNothingLeft({ mappedPages, pinnedPages, residentPages }: Counters): void {
  if (mappedPages !== 0 || pinnedPages !== 0 || residentPages !== 0)
    throw new Bug('a run left something behind', { mappedPages, pinnedPages, residentPages });
}
