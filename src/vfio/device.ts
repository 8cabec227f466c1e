/**
 * A device and the files that programs have of it (kernel: vfio_device, vfio_main.c).
 */
import { Bug } from '../abi/bug.js';
import { PciInterruptIndex } from '../abi/pci.js';
import type { DriverPinning, PinUser } from '../ioas/driver-pins.js';
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

/** A PCI function bound to vfio-pci. All its files share one interrupt state. */
export class VfioDevice implements PinUser {
  readonly interrupts: Interrupts;
  readonly lowPower = new LowPower();
  readonly ioEventfds: IoEventfds;
  readonly stage1: Stage1Attachment;
  private opened = 0;
  /** Where its driver pins, while it is open and can. */
  private pins: DriverPinning | null = null;
  private access: RegionAccess | null = null;

  constructor(
    readonly pciFunction: PciFunction,
    readonly machine: MachineState,
    readonly bus: PciBus,
  ) {
    this.interrupts = new Interrupts(pciFunction, machine.kernel);
    this.ioEventfds = new IoEventfds(pciFunction);
    this.stage1 = new Stage1Attachment(pciFunction);
  }

  /** A file of the device is opened, which holds it by `binding`. */
  open(binding: DeviceBinding): void {
    if (this.opened++ === 0) {
      const { pciFunction, canPin } = this;
      const { pins } = binding.space!;
      if (canPin) {
        this.pins = pins;
        pins.register(this);
      }
      const memory = new ContainerMemory(pciFunction.iommu.group!, pins, canPin);
      pciFunction.open(this.interrupts, memory);
    }
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
      this.pins?.unregister(this);
      this.pins = null;
      this.stage1.release();
      this.access = null;
    }
  }

  /**
   * The host wants the function back: its user is told at the eventfd of REQ (kernel:
   * vfio_pci_core_request).
   */
  request(): void {
    this.interrupts.singleTrigger(PciInterruptIndex.REQ)?.signal();
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
