/** `iopf serve`: makes the device, lets clients have it, and sums up. */
import { Bug } from '../abi/bug.js';
import { DEFAULT_KERNEL } from '../abi/kernel.js';
import { deviceKinds } from '../device/kinds.js';
import { architecture } from '../exec/arch/index.js';
import { type IncidentCounts, IncidentLog } from '../exec/incidents/incident-log.js';
import { makeFunction } from '../exec/machine/hardware.js';
import type { DeviceSpec } from '../exec/machine/machine-spec.js';
import { Networks } from '../exec/machine/networks.js';
import { Background } from '../exec/run/background.js';
import { RunObservers } from '../exec/run/run-observers.js';
import { EndRequests, SignalPipe } from '../exec/run/signals.js';
import { type CounterSummary, summarizeCounters } from '../exec/run/summary.js';
import { tell } from '../exec/run/tell.js';
import { UserError } from '../input/user-error.js';
import { Counters, type Observer } from '../iommu/observer.js';
import type { DmaBuffer } from '../mm/frame-memory.js';
import { createState } from '../vfio/machine-state.js';
import { ClientMemory } from './client-memory.js';
import { mappableAreas } from './information.js';
import { Listener } from './listener.js';
import { keepPrivate } from './region-memory.js';
import type { ServeOptions } from './serve-options.js';
import { type Pause, ServedDevice, servedGeometry } from './served-device.js';
import { type ServedCounts, Server } from './server.js';

/** What a served device came to; `--json` writes it as it is. Bytes count 4 KiB pages. */
export interface ServeSummary
  extends ServedCounts,
    CounterSummary,
    Pick<IncidentCounts, 'refusedAccesses' | 'refused' | 'lostInterrupts'> {
  readonly kind: string;
  readonly options: Readonly<Record<string, string>>;
  readonly premap: number;
  readonly wallSeconds: number;
}

const nowMs = (): number => performance.now();
const nowUs = (): number => performance.now() * 1000;

/** Serves a device until a signal, or its last client, ends that. Throws UserError. */
export async function serveDevice(options: ServeOptions): Promise<ServeSummary> {
  const arch = architecture(process.arch);
  if (process.platform !== 'linux' || arch === null)
    throw new UserError('iopf serve needs Linux on x86-64 or arm64');
  const { device, premapPages } = options;
  const counters = new Counters(nowUs);
  const facts = {
    program: `vfio-user client of ${device.kind}`,
    arguments: [],
    picture: false,
    inject: null,
    times: null,
  };
  const noted = { ...options, ...facts, kernel: DEFAULT_KERNEL, iopf: 'auto' } as const;
  const observers = new RunObservers(noted, null, counters, nowUs);
  const networks = new Networks(nowUs, observers.capture);
  let listener: Listener | null = null;
  try {
    const incidents = new IncidentLog(nowMs, observers.startedMs);
    const served = await makeServed(options, {
      ...{ counters, networks, incidents },
      observer: observers.observer,
    });
    incidents.watch({
      groups: [{ functions: [served.pciFunction] }],
      ioSpaces: () => [served.space],
    });
    listener = new Listener(options.at);
    const background = new Background([networks]);
    const signals = new SignalPipe(arch, true);
    const requests = new EndRequests(signals.fds);
    const server = new Server({
      device: served,
      listener,
      once: options.once,
      signalFd: signals.fds.pipe,
      ends: () => requests.take(),
      nowMs,
      background: (time) => background.run(time),
      tick: () => observers.tick(),
    });
    if (!options.quiet && options.at.kind === 'path')
      tell(`serving ${device.kind} at ${options.at.path}`);
    try {
      server.run();
    } finally {
      signals.close();
    }
    checkNothingLeft(counters);
    observers.close().forEach(tell);
    const { refused, refusedAccesses, lostInterrupts } = incidents.counts;
    return {
      kind: served.pciFunction.kind,
      options: device.options,
      premap: premapPages,
      ...server.counts,
      ...summarizeCounters(counters),
      refusedAccesses,
      refused,
      lostInterrupts,
      wallSeconds: Math.round(nowMs() - observers.startedMs) / 1000,
    };
  } catch (error) {
    if (error instanceof UserError) observers.discard();
    else observers.close(); // What they have so far is worth most now.
    throw error;
  } finally {
    listener?.close();
    networks.close();
  }
}

/** What a served device is made with. */
export interface Around {
  readonly counters: Counters;
  readonly observer: Observer | null;
  readonly networks: Networks;
  readonly incidents: IncidentLog;
}

/** Makes a device that clients can have. Throws UserError. */
export async function makeServed(
  options: Pick<ServeOptions, 'device' | 'premapPages'>,
  around: Around,
): Promise<ServedDevice> {
  const { counters, incidents, networks, observer } = around;
  const { device, premapPages } = options;
  const memory = new ClientMemory();
  const pause: Pause = { isOn: false };
  const regions = new Map<number, DmaBuffer>();
  const { pciFunction, backing } = makeFunction(device, memory.process, {
    ...(device.kind === 'recorded' ? await import('../exec/machine/model-file.js') : {}),
    ...{ counters, observer, incidents, networks, nowUs },
    moduleKind: await loadModule(device),
    note: tell,
    traps: false,
    frames: memory,
    holdsBack: () => pause.isOn,
    regionMade: (index, region) => regions.set(index, region),
  });
  networks.ready();
  for (const [index, region] of regions)
    keepPrivate(region, mappableAreas(pciFunction.regions[index]!));
  const geometry = servedGeometry;
  const state = createState({ geometry, premapPages, counters, observer });
  return new ServedDevice(pciFunction, backing.fd, memory, state, pause);
}

/** A kind of a user's own; undefined: it is one of iopf's, or there is none. */
async function loadModule(device: DeviceSpec) {
  if (deviceKinds.has(device.kind)) return undefined;
  const { findModules } = await import('../exec/module/find.js');
  const devices = await findModules([device]);
  if (devices.length === 0) return undefined;
  const { makeWatchWords } = await import('../exec/module/watch-words.js');
  const { moduleKinds } = await import('../exec/module/module-kinds.js');
  return moduleKinds({ devices, words: makeWatchWords(devices.length) }, 'continue');
}

/** The last client is gone: nothing may be mapped, pinned or in a table any more (R5.11). */
function checkNothingLeft({ mappedPages, pinnedPages, residentPages }: Counters): void {
  if (mappedPages !== 0 || pinnedPages !== 0 || residentPages !== 0)
    throw new Bug('a client left something behind', { mappedPages, pinnedPages, residentPages });
}
