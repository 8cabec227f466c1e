/**
 * A device that is served: its function behind an IOMMU of its own, whose I/O address space is what
 * the client shares. Where nothing is shared any more, nothing is left: each client finds the
 * device as the first one did.
 */

import { Bug } from '../abi/bug.js';
import { VfioExtension } from '../abi/vfio.js';
import type { IoSpace } from '../ioas/io-space.js';
import { defaultGeometry, type IommuProperties } from '../iommu/geometry.js';
import { IommuGroup } from '../iommu/group.js';
import { ContainerMemory } from '../vfio/driver-memory.js';
import type { MachineState } from '../vfio/machine-state.js';
import type { PciFunction } from '../vfio/pci-function.js';
import { openType1, type Type1 } from '../vfio/type1/type1.js';
import type { ClientMemory } from './client-memory.js';
import { DirtyLogging } from './dirty-logging.js';
import { DmaRegions } from './dma-regions.js';
import type { Transfer } from './foreign-space.js';
import { InterruptTable } from './interrupt-table.js';

/** Nothing is reserved: interrupts are eventfds, and addresses are the client's business. */
export const servedGeometry: IommuProperties = { ...defaultGeometry, reserved: [] };
const GROUP = 0;

/** On: the device does not look at its mapped registers (`DeviceHost.holdsBack`). */
export interface Pause {
  isOn: boolean;
}

/** What one client has of a device. */
export interface AttachedDevice {
  readonly pciFunction: PciFunction;
  /** Where regions that can be mapped lie, each at its index times REGION_OFFSET. */
  readonly memoryFd: number;
  readonly dma: DmaRegions;
  readonly interrupts: InterruptTable;
  readonly logging: DirtyLogging;
  /** The client is gone. */
  release(): void;
}

export class ServedDevice {
  readonly space: IoSpace;
  private readonly type1: Type1;
  private readonly group = new IommuGroup(GROUP, servedGeometry);

  constructor(
    readonly pciFunction: PciFunction,
    readonly memoryFd: number,
    private readonly memory: ClientMemory,
    state: MachineState,
    readonly pause: Pause = { isOn: false },
  ) {
    this.group.add(pciFunction.iommu);
    this.type1 = openType1(state, VfioExtension.VFIO_TYPE1v2_IOMMU);
    this.type1.attach(this.group);
    this.type1.enableIopfByDefault();
    this.space = this.type1.space;
  }

  /** A client is there; what has no descriptor is reached by `transfer`. */
  attach(transfer: Transfer): AttachedDevice {
    const { group, memory, memoryFd, pciFunction, space } = this;
    const messages = memory.addForeign(transfer);
    if (messages === null) throw new Bug('no room for a first client');
    const interrupts = new InterruptTable(pciFunction);
    const logging = new DirtyLogging(space);
    const dma = new DmaRegions(space, memory, messages, logging);
    const canPin = pciFunction.dmaUnmap !== undefined;
    const pinUser = {
      dmaUnmap: (iovaPage: number, pages: number) => pciFunction.dmaUnmap?.(iovaPage, pages),
    };
    if (canPin) space.pins.register(pinUser);
    pciFunction.open(interrupts, new ContainerMemory(group, () => space.pins, canPin));
    return {
      pciFunction,
      memoryFd,
      dma,
      interrupts,
      logging,
      release() {
        pciFunction.release();
        interrupts.release();
        logging.stop();
        dma.unmapAll();
        dma.settle();
        if (canPin) space.pins.unregister(pinUser);
        memory.remove(messages);
      },
    };
  }
}
