/**
 * The machine that a recording ran on: QEMU's VT-d with the devices that test/vectors/README.md
 * lists.
 */

import type { KernelVersion } from '../abi/kernel.js';
import type { IopfMode } from '../ioas/iopf/mode.js';
import type { SimulatedMemory } from '../mm/simulated-memory.js';
import {
  createMachine,
  type GroupOptions,
  type Machine,
  type MachineOptions,
} from '../vfio/machine.js';
import type { PciFunction } from '../vfio/pci-function.js';
import { ownDevice, recorded } from './fixtures.js';
import { hasIommu, recordedGeometry } from './geometry.js';
import { usesTestInterface, type VectorCase, type VectorFile } from './vectors.js';

export interface RecordedMachine {
  readonly machine: Machine;
  /** Group numbers and PCI addresses by the recording's names. */
  readonly vars: Readonly<Record<string, string>>;
  readonly functions: ReadonlyMap<string, PciFunction>;
  /** Parameters of vfio_iommu_type1 as sysfs shows them. */
  readonly parameters: Map<string, string>;
  readonly hasIommu: boolean;
  /** Functions that a step has given to a driver of the host. */
  readonly hostDriven: Set<string>;
  /** It was recorded with vectors-iommufd: group 4's other function has no driver at first. */
  readonly isOfIommufd: boolean;
}

/** Builds the machine for one case. With IOPF off the answers are the kernel's. */
export function recordedMachine(
  file: VectorFile,
  vectorCase: VectorCase,
  kernel: KernelVersion,
  frames: SimulatedMemory,
  iopf: IopfMode,
): RecordedMachine {
  const { vars = {} } = file.machine;
  const parameters = vectorCase.setup.moduleParams ?? {};
  const limit = vectorCase.setup.dmaEntryLimit ?? parameters['dma_entry_limit'];
  const groups = recordedGroups(file, frames);
  const options: MachineOptions = {
    groups,
    geometry: recordedGeometry(file),
    kernel,
    iopf,
    compatContainer: file.boot.startsWith('container'),
    iommufdTest: usesTestInterface(vectorCase),
    type1Module: !file.boot.startsWith('notype1'),
    allowUnsafeInterrupts: parameters['allow_unsafe_interrupts'] === '1',
    ...(limit === undefined ? {} : { dmaEntryLimit: Number(limit) }),
  };
  const functions = new Map(
    groups.flatMap((group) => group.functions).map((each) => [each.address, each]),
  );
  return {
    machine: createMachine(options),
    vars,
    functions,
    parameters: new Map([
      ['allow_unsafe_interrupts', options.allowUnsafeInterrupts ? 'Y' : 'N'],
      ['disable_hugepages', parameters['disable_hugepages'] === '1' ? 'Y' : 'N'],
      ['dma_entry_limit', `${limit ?? 65535}`],
    ]),
    hasIommu: hasIommu(file),
    hostDriven: new Set(),
    isOfIommufd: vars['v0'] !== undefined,
  };
}

function recordedGroups(file: VectorFile, frames: SimulatedMemory): GroupOptions[] {
  if (!hasIommu(file)) return [];
  const { vars } = file.machine;
  const edu = (name: string) => ownDevice('edu', vars[name]!, frames);
  const functions: Record<string, () => GroupOptions['functions']> = {
    g0: () => [edu('d0')],
    g1: () => [edu('d1')],
    g2: () => [edu('d2a'), edu('d2b')],
    g3: () => [recorded('pci-testdev', vars['d3']!)],
    // Its other function, an e1000 (h4), is the host's.
    g4: () => [edu('d4')],
    g5: () => [recorded('e1000e', vars['d5']!)],
    g6: () => [recorded('nvme', vars['d6']!)],
  };
  return Object.entries(functions)
    .filter(([name]) => vars[name] !== undefined)
    .map(([name, make]) => ({ number: Number(vars[name]), functions: make() }));
}
