/**
 * Builds the machine of a run: devices over real memory, their groups, and the shadow by which
 * programs find them.
 */

import { type KernelVersion, kernelProfile } from '../../abi/kernel.js';
import { PciRegionIndex } from '../../abi/pci.js';
import { REGION_OFFSET } from '../../abi/vfio.js';
import { OptionError } from '../../device/index.js';
import type { DeviceKind } from '../../device/kind.js';
import { deviceKinds, type RecordedModel } from '../../device/kinds.js';
import type { PeerHost } from '../../device/vfio-user/host.js';
import type { VfioFile } from '../../file/file.js';
import { UserError } from '../../input/user-error.js';
import type { IopfMode } from '../../ioas/iopf/mode.js';
import { IommuDevice } from '../../iommu/device.js';
import type { Incidents } from '../../iommu/incidents.js';
import type { Counters, Observer } from '../../iommu/observer.js';
import { TableMemory } from '../../iommu/stage1.js';
import type { DmaBuffer, FrameMemory } from '../../mm/frame-memory.js';
import { allocateNative, mapShared } from '../../mm/process/libc.js';
import { ProcessMemory } from '../../mm/process/memory.js';
import type { MappedDevice } from '../../mm/process/vmas.js';
import { memoryEnabled } from '../../vfio/config-access.js';
import { functionOf } from '../../vfio/device-file.js';
import { createMachine, type Machine } from '../../vfio/machine.js';
import type { PciFunction } from '../../vfio/pci-function.js';
import type { Injection } from '../inject/injection.js';
import { type Backing, makeBacking } from '../process/backing.js';
import type { DeviceNode, DeviceNodes } from './device-node.js';
import { openBlockFile } from './file-store.js';
import type { DeviceSpec, MachineSpec } from './machine-spec.js';
import type { Networks } from './networks.js';
import type { ShadowTree } from './shadow.js';
import { firstFree, firstFreeGroup } from './sysfs/host-numbers.js';
import { buildShadow } from './sysfs/index.js';

export interface HardwareOptions {
  readonly spec: MachineSpec;
  readonly kernel: KernelVersion;
  readonly iopf: IopfMode;
  readonly premapPages: number;
  readonly counters: Counters;
  /** Reads recorded devices, where there are any. */
  readonly openModel?: (path: string) => RecordedModel;
  readonly observer: Observer | null;
  readonly incidents: Incidents | null;
  readonly networks: Networks;
  /** Other processes, which have devices; absent: none is asked for. */
  readonly peers?: PeerHost | undefined;
  /** Faults on purpose; absent: none. */
  readonly injection?: Injection | null;
  /** Kinds from modules of users, for a device; absent or null: none. */
  readonly moduleKind?: ((device: DeviceSpec) => DeviceKind | null) | undefined;
  /** Microseconds of the run. */
  readonly nowUs?: () => number;
  /** Takes lines of devices for the user. */
  readonly note?: (line: string) => void;
  /** Told of the shadow's folder before it is made. */
  readonly announceFolder: (path: string) => void;
  /** Accesses to mapped registers reach the devices. */
  readonly traps: boolean;
}

export interface Hardware {
  readonly machine: Machine;
  readonly memory: ProcessMemory;
  readonly shadow: ShadowTree;
  /** Devices by the `fileKey` of the files behind them. */
  readonly deviceFiles: ReadonlyMap<string, MappedDevice>;
  readonly nodes: DeviceNodes;
  /** Every function of the machine. */
  readonly functions: readonly PciFunction[];
}

export function buildHardware(options: HardwareOptions): Hardware {
  const memory = new ProcessMemory();
  const backings = new Map<PciFunction, Backing>();
  let nextGroup = firstFreeGroup();
  const taken = new Set(options.spec.groups.map((group) => group.number));
  const addresses = new Set<string>();
  const groups = options.spec.groups.map((group) => {
    while (taken.has(nextGroup)) nextGroup++;
    const number = group.number ?? nextGroup++;
    const functions = group.devices.map((device) => {
      if (addresses.has(device.address))
        throw new UserError(`${device.where}: there is already a device at ${device.address}`);
      addresses.add(device.address);
      const { pciFunction, backing } = makeFunction(device, memory, options);
      backings.set(pciFunction, backing);
      return pciFunction;
    });
    return { number, viable: group.viable, functions };
  });
  options.networks.ready();
  const firstDevice = firstFree('/sys/class/vfio-dev/vfio');
  const { geometry: recorded } = options.spec;
  // The recorded IOMMUs cannot nest, and with IOPF off all is as recorded.
  const geometry = recorded === null ? null : { ...recorded, nests: options.iopf !== 'off' };
  const machine = createMachine({
    groups,
    firstDevice,
    ...(geometry === null ? {} : { geometry }),
    ...options.spec.vfio,
    compatContainer: options.spec.vfio.container === 'iommufd',
    iommufdTest: options.spec.vfio.iommufdTest,
    kernel: options.kernel,
    iopf: options.iopf,
    premapPages: options.premapPages,
    tables: new TableMemory(memory, allocateNative),
    counters: options.counters,
    observer: options.observer,
  });
  return {
    machine,
    memory,
    shadow: buildShadow({
      groups,
      firstDevice,
      geometry,
      vfio: options.spec.vfio,
      kernel: kernelProfile(options.kernel),
      announceFolder: options.announceFolder,
    }),
    deviceFiles: new Map(
      [...backings].map(([pciFunction, { key }]) => [
        key,
        { isDecoding: () => memoryEnabled(pciFunction) },
      ]),
    ),
    nodes: {
      open: (node) => openNode(machine, node),
      functionOf,
      backing: (pciFunction) => backings.get(pciFunction)!,
    },
    functions: [...backings.keys()],
  };
}

function openNode(machine: Machine, node: DeviceNode): VfioFile {
  switch (node.kind) {
    case 'iommufd':
      return machine.openIommufd();
    case 'container':
      return machine.openContainer();
    case 'group':
      return machine.openGroup(node.group);
    case 'device':
      return machine.openDevice(node.address);
  }
}

/** What a function needs of the run around it. */
export interface FunctionOptions
  extends Pick<
    HardwareOptions,
    | 'counters'
    | 'openModel'
    | 'observer'
    | 'incidents'
    | 'networks'
    | 'injection'
    | 'moduleKind'
    | 'nowUs'
    | 'note'
    | 'peers'
    | 'traps'
  > {
  /** The memory that translated DMA reaches, where that is more than processes'. */
  readonly frames?: FrameMemory;
  /** As `DeviceHost.holdsBack`. */
  readonly holdsBack?: () => boolean;
  /** Told of the memory of each region that can be mapped. */
  readonly regionMade?: (index: number, region: DmaBuffer) => void;
}

/** Makes a device and what stands behind the files of it. Throws UserError. */
export function makeFunction(
  device: DeviceSpec,
  memory: ProcessMemory,
  options: FunctionOptions,
): { pciFunction: PciFunction; backing: Backing } {
  const kind = deviceKinds.get(device.kind) ?? options.moduleKind?.(device) ?? null;
  if (kind === null)
    throw new UserError(
      `${device.where}: unknown device kind "${device.kind}"; kinds: ${[...deviceKinds.keys()].join(', ')}`,
    );
  const backing = makeBacking('vfio-device', PciRegionIndex.COUNT * REGION_OFFSET);
  const iommu = new IommuDevice({
    address: device.address,
    canFault: device.canFault,
    counters: options.counters,
    observer: options.observer,
    incidents: options.incidents,
  });
  const memories: DmaBuffer[] = [];
  const { injection, networks } = options;
  const { openCapture } = networks;
  const host = {
    frames: options.frames ?? memory,
    ...(options.holdsBack === undefined ? {} : { holdsBack: options.holdsBack }),
    allocate: allocateNative,
    traps: options.traps,
    regionMemory: (index: number, bytes: number) => {
      const region = mapShared(backing.fd, index * REGION_OFFSET, bytes);
      memories.push(region);
      options.regionMade?.(index, region);
      return region;
    },
    frameOf: (buffer: DmaBuffer) => memory.frameOf(buffer),
    openBlockFile,
    openTap: networks.openTap,
    openLink: networks.openLink,
    impair: networks.impair,
    ...(options.peers === undefined ? {} : { peers: options.peers }),
    ...(openCapture === undefined ? {} : { openCapture }),
    ...(options.openModel === undefined ? {} : { openModel: options.openModel }),
    ...(options.nowUs === undefined ? {} : { nowUs: options.nowUs }),
    ...(options.note === undefined ? {} : { note: options.note }),
    ...(injection == null ? {} : { faults: injection.deviceFaults(iommu) }),
  };
  try {
    const made = kind.create(device.options, { address: device.address, iommu, host });
    return { pciFunction: injection?.functionFor(made, memories) ?? made, backing };
  } catch (error) {
    if (error instanceof OptionError) throw new UserError(`${device.where}: ${error.message}`);
    throw error;
  }
}
