/**
 * A device and the files that programs have of it (kernel: vfio_device, vfio_main.c).
 */
import { Bug } from '../abi/bug.js';
import { fail } from '../abi/errno.js';
import { PciInterruptIndex } from '../abi/pci.js';
import { DeviceIoctl, Stage1DeviceIoctl } from '../abi/vfio.js';
import type { Caller } from '../file/caller.js';
import type { MmapRequest, VfioFile } from '../file/file.js';
import type { DriverPinning, PinUser } from '../ioas/driver-pins.js';
import type { IoSpace } from '../ioas/io-space.js';
import type { DeviceBinding } from './binding.js';
import { deviceFeature, LowPower } from './device-feature.js';
import { getDeviceInfo, getIrqInfo } from './device-info.js';
import { ContainerMemory } from './driver-memory.js';
import { getHotResetInfo, hotReset, type PciBus } from './hot-reset.js';
import { Interrupts } from './interrupts.js';
import { IoEventfds } from './ioeventfd.js';
import type { MachineState } from './machine-state.js';
import type { PciFunction } from './pci-function.js';
import { RegionAccess } from './region-access.js';
import { getRegionInfo } from './region-info.js';
import { setIrqs } from './set-irqs.js';
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

  /** A file of the device, which holds it by `binding`. */
  open(binding: DeviceBinding): VfioFile {
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
    return new DeviceFile(this, binding);
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

class DeviceFile implements VfioFile {
  readonly kind = 'device';
  readonly name = 'anon_inode:[vfio-device]';

  constructor(
    private readonly device: VfioDevice,
    private readonly binding: DeviceBinding,
  ) {}

  get pciFunction(): PciFunction {
    return this.device.pciFunction;
  }

  ioctl(caller: Caller, request: number, argument: number): number {
    const { device, binding } = this;
    const { pciFunction, interrupts, lowPower, ioEventfds, machine, bus } = device;
    switch (request) {
      case DeviceIoctl.VFIO_DEVICE_GET_INFO:
        getDeviceInfo(caller, argument, pciFunction, machine.kernel);
        return 0;
      case DeviceIoctl.VFIO_DEVICE_GET_REGION_INFO:
        getRegionInfo(caller, argument, pciFunction, machine.kernel);
        return 0;
      case DeviceIoctl.VFIO_DEVICE_GET_IRQ_INFO:
        getIrqInfo(caller, argument, pciFunction, machine.kernel);
        return 0;
      case DeviceIoctl.VFIO_DEVICE_SET_IRQS:
        setIrqs(caller, argument, pciFunction, interrupts);
        return 0;
      case DeviceIoctl.VFIO_DEVICE_RESET:
        if (!pciFunction.resettable) fail('EINVAL');
        pciFunction.reset();
        pciFunction.iommu.reset();
        return 0;
      case DeviceIoctl.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO:
        getHotResetInfo(caller, argument, pciFunction, bus);
        return 0;
      case DeviceIoctl.VFIO_DEVICE_PCI_HOT_RESET:
        hotReset(caller, argument, pciFunction, bus, machine.kernel, binding);
        return 0;
      case DeviceIoctl.VFIO_DEVICE_IOEVENTFD:
        ioEventfds.set(caller, argument, device.regions);
        return 0;
      case Stage1DeviceIoctl.VFIO_DEVICE_ATTACH_STAGE1:
        device.stage1.attach(caller, argument, nestingSpace(binding));
        return 0;
      case Stage1DeviceIoctl.VFIO_DEVICE_DETACH_STAGE1:
        nestingSpace(binding);
        device.stage1.detach(caller, argument);
        return 0;
      case DeviceIoctl.VFIO_DEVICE_FEATURE:
        deviceFeature(caller, argument, lowPower);
        return 0;
      default:
        return fail('ENOTTY');
    }
  }

  read(caller: Caller, address: number, count: number, offset: number): number {
    return this.device.regions.read(caller, address, count, offset);
  }

  write(caller: Caller, address: number, count: number, offset: number): number {
    return this.device.regions.write(caller, address, count, offset);
  }

  mmap(_caller: Caller, request: MmapRequest): void {
    this.device.regions.mmap(request);
  }

  release(): void {
    this.device.close();
    this.binding.close();
  }
}

/** The I/O address space of an open device; ENOTTY where it has no stages. */
function nestingSpace({ nesting, space }: DeviceBinding): IoSpace {
  return nesting ? space! : fail('ENOTTY');
}

/** The function behind a file; null: it is no device's. */
export function functionOf(file: VfioFile): PciFunction | null {
  return file instanceof DeviceFile ? file.pciFunction : null;
}
