/**
 * VFIO groups (kernel: vfio/group.c).
 *
 * Terms: a group is *viable* while no function of it has a host driver. *Claimed*: its DMA belongs
 * to its container, or to the iommufd that has its devices. A device file holds the group's file
 * open, so that a closed group is only gone with its last device.
 */
import { fail } from '../abi/errno.js';
import type { VfioFile } from '../file/file.js';
import type { IoSpace } from '../ioas/io-space.js';
import type { IommuGroup } from '../iommu/group.js';
import type { IommufdContext } from '../iommufd/context.js';
import { takeGroup } from '../iommufd/vfio-compat.js';
import { CdevBinding } from './cdev-binding.js';
import type { Container } from './container.js';
import { VfioDevice } from './device.js';
import { openCdev, openDevice } from './device-file.js';
import { GroupBinding } from './group-binding.js';
import type { PciBus } from './hot-reset.js';
import { IommufdGroupBinding } from './iommufd-group-binding.js';
import type { MachineState } from './machine-state.js';
import type { PciFunction } from './pci-function.js';

/** What drives a function: VFIO, the host, or nothing. */
export type Driver = 'vfio-pci' | 'host' | null;

export class VfioGroup {
  private container: Container | null = null;
  /** In place of a container. */
  private iommufd: IommufdContext | null = null;
  /** Devices that are open by the group and its iommufd. */
  private readonly iommufdDevices = new Map<VfioDevice, IommufdGroupBinding>();
  private readonly drivers = new Map<VfioDevice, Driver>();
  /** Functions that VFIO can not drive, by address: they only take part in viability. */
  private readonly hostFunctions = new Set<string>();
  /** The group's descriptor and its open devices, each of which keeps the file. */
  private fileUsers = 0;
  /** Devices that the host has taken from VFIO and that are still open. */
  private readonly leaving = new Set<VfioDevice>();
  private openDevices = 0;
  /** Devices that are bound to an iommufd by their own files. */
  private cdevs = 0;

  constructor(
    readonly iommuGroup: IommuGroup,
    readonly machine: MachineState,
    bus: PciBus,
    functions: readonly PciFunction[],
    /** The number of its first device's own file. */
    firstDevice: number,
  ) {
    functions.forEach((pciFunction, index) => {
      const device = new VfioDevice(pciFunction, machine, bus, firstDevice + index);
      this.drivers.set(device, 'vfio-pci');
    });
  }

  get number(): number {
    return this.iommuGroup.number;
  }

  /** Where the DMA of its devices goes; null: nowhere, while nobody has given them an IOMMU. */
  get space(): IoSpace | null {
    if (this.container !== null) return this.container.space;
    for (const { space } of this.drivers.keys()) if (space !== null) return space;
    return null;
  }

  get inContainer(): boolean {
    return this.container !== null || this.iommufd !== null;
  }

  get viable(): boolean {
    return this.hostFunctions.size === 0 && ![...this.drivers.values()].includes('host');
  }

  /** Whether /dev/vfio/N exists: some function is bound to vfio-pci. */
  get exists(): boolean {
    return [...this.drivers.values()].includes('vfio-pci');
  }

  get functions(): readonly PciFunction[] {
    return [...this.drivers.keys()].map((device) => device.pciFunction);
  }

  /** Functions that vfio-pci drives now. */
  get boundDevices(): readonly VfioDevice[] {
    return [...this.drivers]
      .filter(([, driver]) => driver === 'vfio-pci')
      .map(([device]) => device);
  }

  /**
   * Binds a function of the group to a driver, or to none, as a write to sysfs does. EBUSY for a
   * host driver while a container or iommufd has the group, and for taking VFIO from a device that
   * is open (where the kernel waits for its last descriptor).
   */
  bind(address: string, driver: Driver): void {
    if (driver === 'host' && this.iommuGroup.isClaimed) fail('EBUSY');
    const device = [...this.drivers.keys()].find(
      (candidate) => candidate.pciFunction.address === address,
    );
    if (device) {
      if (device.isOpen) fail('EBUSY');
      this.drivers.set(device, driver);
    } else if (driver === 'host') this.hostFunctions.add(address);
    else this.hostFunctions.delete(address);
  }

  /**
   * Takes VFIO from a function, as a write to its driver's `unbind` does: now, or where it is open
   * with its last descriptor; until then its user is asked for it (the kernel's write waits;
   * vfio_unregister_group_dev). False: VFIO does not have it.
   */
  unbind(address: string): boolean {
    const device = this.boundDevices.find((candidate) => candidate.pciFunction.address === address);
    if (!device) return false;
    const { iommu } = device.pciFunction;
    iommu.incidents?.deviceUnbound(iommu);
    if (device.isOpen) {
      this.leaving.add(device);
      device.request();
    } else this.drivers.set(device, null);
    return true;
  }

  /** A file of it is opened. ENOENT; EBUSY: there is one, or a device of it is bound by its own. */
  open(): void {
    if (!this.exists) fail('ENOENT');
    if (this.fileUsers > 0 || this.cdevs > 0) fail('EBUSY');
    this.fileUsers = 1;
  }

  /** A descriptor or a device is gone; with the last of them the group leaves its container. */
  dropFile(): void {
    if (--this.fileUsers > 0) return;
    this.leaveContainer();
  }

  /**
   * A file of a device, which holds the group's. EINVAL without a container that has an IOMMU. With
   * an iommufd it does not hold the group's; ENODEV: there is no compat IOAS; EPERM; and what
   * attaching answers.
   */
  openDevice(device: VfioDevice): VfioFile {
    const { container, iommufd } = this;
    if (iommufd !== null) return this.openByIommufd(device, iommufd);
    if (!container?.space) fail('EINVAL');
    this.fileUsers++;
    this.openDevices++;
    return openDevice(device, new GroupBinding(container, () => this.deviceClosed(device)));
  }

  /** Whether a file of it is open. */
  get isHeld(): boolean {
    return this.fileUsers > 0;
  }

  /** The own file of a device of it. ENOENT: VFIO does not have the device. */
  openCdev(device: VfioDevice): VfioFile {
    if (this.drivers.get(device) !== 'vfio-pci') fail('ENOENT');
    return openCdev(device, new CdevBinding(device, this));
  }

  /** A device of it is bound to an iommufd. */
  cdevOpened(): void {
    this.cdevs++;
  }

  cdevClosed(device: VfioDevice): void {
    this.cdevs--;
    this.leave(device);
  }

  /** EPERM: not viable; and what attaching answers. */
  setContainer(container: Container): void {
    if (!this.viable) fail('EPERM');
    this.iommuGroup.claim(this, 'EPERM');
    try {
      container.addGroup(this.iommuGroup);
    } catch (error) {
      this.iommuGroup.unclaim();
      throw error;
    }
    this.container = container;
  }

  /** An iommufd is its container: its devices go to the compat IOAS when they are opened. */
  setIommufd(context: IommufdContext): void {
    takeGroup(context);
    context.hold();
    this.iommufd = context;
  }

  /** EINVAL: it has none; EBUSY: a device is open. */
  unsetContainer(): void {
    if (!this.inContainer) fail('EINVAL');
    if (this.openDevices > 0) fail('EBUSY');
    this.leaveContainer();
  }

  private openByIommufd(device: VfioDevice, context: IommufdContext): VfioFile {
    let binding = this.iommufdDevices.get(device);
    if (binding !== undefined) {
      binding.hold();
      return openDevice(device, binding);
    }
    if (device.isOpen) fail('EINVAL');
    binding = new IommufdGroupBinding(context, device, () => {
      this.iommufdDevices.delete(device);
      this.leave(device);
    });
    binding.hold();
    this.iommufdDevices.set(device, binding);
    const file = openDevice(device, binding);
    try {
      binding.attach();
    } catch (error) {
      file.release();
      throw error;
    }
    return file;
  }

  private leaveContainer(): void {
    if (this.container !== null) {
      this.container.removeGroup(this.iommuGroup);
      this.iommuGroup.unclaim();
    }
    this.container = null;
    this.iommufd?.drop();
    this.iommufd = null;
  }

  /** A file of a device is gone; one that the host wants back goes with the last. */
  private leave(device: VfioDevice): void {
    if (!device.isOpen && this.leaving.delete(device)) this.drivers.set(device, null);
  }

  private deviceClosed(device: VfioDevice): void {
    this.leave(device);
    this.openDevices--;
    this.dropFile();
  }
}
