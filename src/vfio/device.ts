/**
 * A device and the files that programs have of it (kernel: vfio_device, vfio_main.c).
 */
import { Bug } from '../abi/bug.js';
import { PciInterruptIndex } from '../abi/pci.js';
import type { PinUser } from '../ioas/driver-pins.js';
import type { IoSpace } from '../ioas/io-space.js';
import type { DeviceBinding } from './binding.js';
import { LowPower } from './device-feature.js';
import { ContainerMemory } from './driver-memory.js';
import type { PciBus } from './hot-reset.js';
import { Interrupts } from './interrupts.js';
import { IoEventfds } from './ioeventfd.js';
import type { MachineState } from './machine-state.js';
import type { PciFunction } from './pci-function.js';
import { RegionAccess } from './region-access.js';
import { Stage1Attachment } from './stage1.js';

/** Pages of all 64 bits. */
const ADDRESS_PAGES = 2 ** 52;

/** A PCI function bound to vfio-pci. All its files share one interrupt state. */
export class VfioDevice implements PinUser {
  readonly interrupts: Interrupts;
  readonly lowPower = new LowPower();
  readonly ioEventfds: IoEventfds;
  readonly stage1: Stage1Attachment;
  private opened = 0;
  /** Where its DMA goes, while it is open and attached. */
  space: IoSpace | null = null;
  private access: RegionAccess | null = null;

  constructor(
    readonly pciFunction: PciFunction,
    readonly machine: MachineState,
    readonly bus: PciBus,
    /** The number of its own file, /dev/vfio/devices/vfioN. */
    readonly number: number,
  ) {
    this.interrupts = new Interrupts(pciFunction, machine.kernel);
    this.ioEventfds = new IoEventfds(pciFunction);
    this.stage1 = new Stage1Attachment(pciFunction);
  }

  /** A file of the device is opened, which holds it by `binding`. */
  open(binding: DeviceBinding): void {
    if (this.opened++ === 0) {
      const { pciFunction, canPin } = this;
      this.use(binding.space);
      const group = pciFunction.iommu.group!;
      const memory = new ContainerMemory(group, () => this.space?.pins ?? null, canPin);
      pciFunction.open(this.interrupts, memory);
    }
  }

  /** Its DMA goes elsewhere: what its driver has pinned where it went before is not any more. */
  use(space: IoSpace | null): void {
    const { canPin } = this;
    const { mappings } = this.pciFunction;
    if (this.space !== null && canPin) {
      this.dmaUnmap(0, ADDRESS_PAGES);
      this.space.pins.unregister(this);
    }
    if (mappings) this.space?.stopListening(mappings);
    this.space = space;
    if (space !== null && canPin) space.pins.register(this);
    if (mappings) space?.listen(mappings);
  }

  /** A file is gone; with the last one the function becomes quiet. */
  close(): void {
    if (this.opened === 0)
      throw new Bug('device is closed more often than opened', {
        address: this.pciFunction.address,
      });
    if (--this.opened === 0) {
      this.lowPower.exit();
      this.ioEventfds.release();
      this.interrupts.release();
      this.pciFunction.release();
      this.use(null);
      this.stage1.release();
      this.access = null;
    }
  }

  /**
   * The host wants the function back: its user is told at the eventfd of REQ (kernel:
   * vfio_pci_core_request).
   */
  request(): void {
    this.interrupts.notify(PciInterruptIndex.REQ);
  }

  /** A mapping goes: the driver unpins what it has there. */
  dmaUnmap(iovaPage: number, pages: number): void {
    this.pciFunction.dmaUnmap!(iovaPage, pages);
  }

  private get canPin(): boolean {
    return this.pciFunction.dmaUnmap !== undefined;
  }

  get isOpen(): boolean {
    return this.opened > 0;
  }

  get regions(): RegionAccess {
    this.access ??= new RegionAccess(this.pciFunction, this.machine.kernel);
    return this.access;
  }
}
