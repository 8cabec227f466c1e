/**
 * A machine: its IOMMU, its groups of PCI functions, and the kernel that answers for them. The face
 * of this folder.
 */
import { fail } from '../abi/errno.js';
import type { VfioFile } from '../file/file.js';
import type { IoSpace } from '../ioas/io-space.js';
import type { IommuProperties } from '../iommu/geometry.js';
import { IommuGroup } from '../iommu/group.js';
import type { Counters } from '../iommu/observer.js';
import { openCompatContainer, openIommufd } from '../iommufd/iommufd-file.js';
import { Container, ContainerFile } from './container.js';
import { type Driver, VfioGroup } from './group.js';
import { GroupFile, openGroup } from './group-file.js';
import { addressOf, checkAddress, type PciBus } from './hot-reset.js';
import { createState, type MachineState, type StateOptions } from './machine-state.js';
import type { PciFunction } from './pci-function.js';

export interface GroupOptions {
  /** The IOMMU group's number: /dev/vfio/N. */
  readonly number: number;
  readonly functions: readonly PciFunction[];
  /** False: a host driver has something in the group. */
  readonly viable?: boolean;
  /** The IOMMU of this group, where it is not the machine's. */
  readonly geometry?: IommuProperties;
}

export interface MachineOptions extends StateOptions {
  readonly groups: readonly GroupOptions[];
  /** The number of the first device's own file (default 0). */
  readonly firstDevice?: number;
}

export interface Machine {
  readonly counters: Counters;
  /** Numbers of the groups that /dev/vfio shows. */
  readonly groupNumbers: readonly number[];
  /** All groups, for those who look on. */
  readonly groups: readonly VfioGroup[];
  /** The I/O address spaces in which devices are, each once, in the order of their groups. */
  ioSpaces(): readonly IoSpace[];
  /** open(2) of /dev/vfio/vfio. */
  openContainer(): VfioFile;
  /** open(2) of /dev/iommu. ENOENT: this kernel has none. */
  openIommufd(): VfioFile;
  /** open(2) of the device's own file, by its PCI address. ENOENT: VFIO does not have it. */
  openDevice(address: string): VfioFile;
  /** open(2) of /dev/vfio/N: ENOENT, EBUSY. */
  openGroup(number: number): VfioFile;
  /**
   * Binds a function to a driver as a write to sysfs does: ENODEV, EBUSY. `address` may be a host
   * function of the group.
   */
  bind(group: number, address: string, driver: Driver): void;
  /**
   * Takes VFIO from a function, as a write to vfio-pci's `unbind` does; an open one goes with its
   * last descriptor, and until then its user is asked for it (interrupt REQ). ENODEV: VFIO does not
   * have it.
   */
  unbind(address: string): void;
  /** Sets the module parameter allow_unsafe_interrupts. */
  allowUnsafeInterrupts(allow: boolean): void;
  /**
   * Sets the module parameter dma_entry_limit, for containers that choose their IOMMU from now on.
   */
  limitDmaEntries(limit: number): void;
}

const HOST_FUNCTION = 'a function of the host';

/** Throws RangeError: an address that is none, or not spelt as Linux does. */
export function createMachine(options: MachineOptions): Machine {
  const state = createState(options);
  const groups = new Map<number, VfioGroup>();
  const bus: PciBus = {
    neighbours: (pciFunction) => neighbours(groups.values(), pciFunction),
    groupOf: (file) => (file instanceof GroupFile ? file.group.number : null),
  };
  let device = options.firstDevice ?? 0;
  for (const group of options.groups) {
    groups.set(group.number, createGroup(group, state, bus, device));
    device += group.functions.length;
  }

  const find = (number: number): VfioGroup => groups.get(number) ?? fail('ENOENT');
  return {
    counters: state.counters,
    get groupNumbers() {
      return [...groups.values()].filter((group) => group.exists).map((group) => group.number);
    },
    groups: [...groups.values()],
    ioSpaces: () => spacesOf(groups.values()),
    openContainer: () =>
      state.compatContainer ? openCompatContainer(state) : new ContainerFile(new Container(state)),
    openIommufd: () =>
      state.kernel.iommufdLast === 0 ? fail('ENOENT') : openIommufd(state, state.testInterface),
    openDevice: (address) => openCdev(groups.values(), address),
    openGroup: (number) => openGroup(find(number)),
    bind: (number, address, driver) => find(number).bind(address, driver),
    unbind: (address) => {
      if (![...groups.values()].some((group) => group.unbind(address))) fail('ENODEV');
    },
    allowUnsafeInterrupts: (allow) => {
      state.allowUnsafeInterrupts = allow;
    },
    limitDmaEntries: (limit) => {
      state.dmaEntryLimit = limit;
    },
  };
}

function createGroup(
  options: GroupOptions,
  state: MachineState,
  bus: PciBus,
  firstDevice: number,
): VfioGroup {
  const iommuGroup = new IommuGroup(options.number, options.geometry ?? state.geometry);
  for (const pciFunction of options.functions) {
    checkAddress(pciFunction);
    iommuGroup.add(pciFunction.iommu);
  }
  const group = new VfioGroup(iommuGroup, state, bus, options.functions, firstDevice);
  if (options.viable === false) group.bind(HOST_FUNCTION, 'host');
  return group;
}

function openCdev(groups: Iterable<VfioGroup>, address: string): VfioFile {
  for (const group of groups)
    for (const device of group.boundDevices)
      if (device.pciFunction.address === address) return group.openCdev(device);
  return fail('ENOENT');
}

function spacesOf(groups: Iterable<VfioGroup>): IoSpace[] {
  const found = new Set<IoSpace>();
  for (const { space } of groups) if (space !== null) found.add(space);
  return [...found];
}

function neighbours(
  groups: Iterable<VfioGroup>,
  neighbour: PciFunction,
): ReturnType<PciBus['neighbours']> {
  const own = addressOf(neighbour);
  const found: { group: number; pciFunction: PciFunction }[] = [];
  for (const group of groups) {
    for (const pciFunction of group.functions) {
      const other = addressOf(pciFunction);
      if (other.segment === own.segment && other.bus === own.bus)
        found.push({ group: group.number, pciFunction });
    }
  }
  return found;
}
