/** The files of a device and their ioctls (kernel: vfio_pci_core_ioctl). */
import { fail } from '../abi/errno.js';
import { DeviceIoctl, Stage1DeviceIoctl } from '../abi/vfio.js';
import type { Caller } from '../file/caller.js';
import type { MappedPart, MmapRequest, VfioFile } from '../file/file.js';
import type { IoSpace } from '../ioas/io-space.js';
import type { DeviceBinding } from './binding.js';
import type { VfioDevice } from './device.js';
import { deviceFeature } from './device-feature.js';
import { getDeviceInfo, getIrqInfo } from './device-info.js';
import { getHotResetInfo, hotReset } from './hot-reset.js';
import type { PciFunction } from './pci-function.js';
import { getRegionInfo } from './region-info.js';
import { setIrqs } from './set-irqs.js';

/**
 * A file of a device, which holds it by `binding` until it is released. The binding leads to an I/O
 * address space.
 */
export function openDevice(device: VfioDevice, binding: DeviceBinding): VfioFile {
  device.open(binding);
  return new DeviceFile(device, binding);
}

/** A device's own file, which gets its binding later. */
export function openCdev(device: VfioDevice, binding: DeviceBinding): VfioFile {
  return new DeviceFile(device, binding, `/dev/vfio/devices/vfio${device.number}`);
}

class DeviceFile implements VfioFile {
  readonly kind = 'device';

  constructor(
    private readonly device: VfioDevice,
    private readonly binding: DeviceBinding,
    readonly name = 'anon_inode:[vfio-device]',
  ) {}

  get pciFunction(): PciFunction {
    return this.device.pciFunction;
  }

  ioctl(caller: Caller, request: number, argument: number): number {
    const { device, binding } = this;
    if (binding.control?.(caller, request, argument)) return 0;
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
        getHotResetInfo(caller, argument, pciFunction, bus, binding);
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
        deviceFeature(caller, argument, lowPower, machine.kernel);
        return 0;
      default:
        return fail('ENOTTY');
    }
  }

  read(caller: Caller, address: number, count: number, offset: number): number {
    this.check();
    return this.device.regions.read(caller, address, count, offset);
  }

  write(caller: Caller, address: number, count: number, offset: number): number {
    this.check();
    return this.device.regions.write(caller, address, count, offset);
  }

  mmap(_caller: Caller, request: MmapRequest): readonly MappedPart[] {
    this.check();
    return this.device.regions.mmap(request);
  }

  load(offset: number, into: Uint8Array): boolean {
    return this.device.regions.load(offset, into);
  }

  store(offset: number, from: Uint8Array): boolean {
    return this.device.regions.store(offset, from);
  }

  release(): void {
    if (this.binding.isGranted) this.device.close();
    this.binding.close();
  }

  /** EINVAL: the device is not open yet. */
  private check(): void {
    if (!this.binding.isGranted) fail('EINVAL');
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
