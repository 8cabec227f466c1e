/**
 * VFIO groups and their files (kernel: vfio/group.c).
 *
 * Terms: a group is *viable* while no function of it has a host driver. *Claimed*: its DMA belongs
 * to VFIO, which a container does when it takes the group. A device file holds the group's file
 * open, so that a closed group is only gone with its last device.
 */
import { ArgumentBuffer } from '../abi/argument-buffer.js';
import { fail } from '../abi/errno.js';
import { GroupFlag, GroupIoctl } from '../abi/vfio.js';
import { GroupStatus } from '../abi/vfio-structs.js';
import { copyIn, copyOut } from '../file/argument.js';
import type { Caller } from '../file/caller.js';
import type { VfioFile } from '../file/file.js';
import type { IoSpace } from '../ioas/io-space.js';
import type { IommuGroup } from '../iommu/group.js';
import { type Container, ContainerFile } from './container.js';
import { VfioDevice } from './device.js';
import { findDevice } from './device-name.js';
import { GroupBinding } from './group-binding.js';
import type { PciBus } from './hot-reset.js';
import type { MachineState } from './machine-state.js';
import type { PciFunction } from './pci-function.js';

/** What drives a function: VFIO, the host, or nothing. */
export type Driver = 'vfio-pci' | 'host' | null;

const status = new ArgumentBuffer(GroupStatus.size);
const descriptor = new ArgumentBuffer(4);

export class VfioGroup {
  private container: Container | null = null;
  private readonly drivers = new Map<VfioDevice, Driver>();
  /** Functions that VFIO can not drive, by address: they only take part in viability. */
  private readonly hostFunctions = new Set<string>();
  /** The group's descriptor and its open devices, each of which keeps the file. */
  private fileUsers = 0;
  /** Devices that the host has taken from VFIO and that are still open. */
  private readonly leaving = new Set<VfioDevice>();
  private openDevices = 0;

  constructor(
    readonly iommuGroup: IommuGroup,
    readonly machine: MachineState,
    bus: PciBus,
    functions: readonly PciFunction[],
  ) {
    for (const pciFunction of functions)
      this.drivers.set(new VfioDevice(pciFunction, machine, bus), 'vfio-pci');
  }

  get number(): number {
    return this.iommuGroup.number;
  }

  /** Where the DMA of its devices goes; null: it is in no container that has an IOMMU. */
  get space(): IoSpace | null {
    return this.container?.space ?? null;
  }

  get inContainer(): boolean {
    return this.container !== null;
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
   * host driver while a container has the group, and for taking VFIO from a device that is open
   * (where the kernel waits for its last descriptor).
   */
  bind(address: string, driver: Driver): void {
    if (driver === 'host' && this.container) fail('EBUSY');
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
    if (device.isOpen) {
      this.leaving.add(device);
      device.request();
    } else this.drivers.set(device, null);
    return true;
  }

  /** open(2) of /dev/vfio/N. ENOENT; EBUSY: it is open, or somebody else has its DMA. */
  open(): VfioFile {
    if (!this.exists) fail('ENOENT');
    const file = new GroupFile(this);
    this.iommuGroup.claim(file);
    this.fileUsers = 1;
    return file;
  }

  /** A descriptor or a device is gone; with the last of them the group leaves its container. */
  dropFile(): void {
    if (--this.fileUsers > 0) return;
    this.leaveContainer();
    this.iommuGroup.unclaim();
  }

  /** A file of a device, which holds the group's. EINVAL without a container that has an IOMMU. */
  openDevice(device: VfioDevice): VfioFile {
    const { container } = this;
    if (!container?.space) fail('EINVAL');
    this.fileUsers++;
    this.openDevices++;
    return device.open(new GroupBinding(container, () => this.deviceClosed(device)));
  }

  /** EPERM: not viable; and what attaching answers. */
  setContainer(container: Container): void {
    if (!this.viable) fail('EPERM');
    container.addGroup(this.iommuGroup);
    this.container = container;
  }

  /** EINVAL: it has none; EBUSY: a device is open. */
  unsetContainer(): void {
    if (!this.container) fail('EINVAL');
    if (this.openDevices > 0) fail('EBUSY');
    this.leaveContainer();
  }

  private leaveContainer(): void {
    this.container?.removeGroup(this.iommuGroup);
    this.container = null;
  }

  private deviceClosed(device: VfioDevice): void {
    if (!device.isOpen && this.leaving.delete(device)) this.drivers.set(device, null);
    this.openDevices--;
    this.dropFile();
  }
}

/** An open /dev/vfio/N. */
export class GroupFile implements VfioFile {
  readonly kind = 'group';
  readonly name: string;

  constructor(readonly group: VfioGroup) {
    this.name = `/dev/vfio/${group.number}`;
  }

  ioctl(caller: Caller, request: number, argument: number): number {
    switch (request) {
      case GroupIoctl.VFIO_GROUP_GET_STATUS:
        return this.getStatus(caller, argument);
      case GroupIoctl.VFIO_GROUP_SET_CONTAINER:
        return this.setContainer(caller, argument);
      case GroupIoctl.VFIO_GROUP_UNSET_CONTAINER:
        this.group.unsetContainer();
        return 0;
      case GroupIoctl.VFIO_GROUP_GET_DEVICE_FD:
        return this.getDevice(caller, argument);
      default:
        return fail('ENOTTY');
    }
  }

  read(): number {
    return fail('EINVAL');
  }

  write(): number {
    return fail('EINVAL');
  }

  mmap(): void {
    fail('ENODEV');
  }

  release(): void {
    this.group.dropFile();
  }

  private getStatus(caller: Caller, argument: number): number {
    copyIn(caller, argument, status, GroupStatus.size);
    const { VFIO_GROUP_FLAGS_VIABLE, VFIO_GROUP_FLAGS_CONTAINER_SET } = GroupFlag;
    let flags = this.group.viable ? VFIO_GROUP_FLAGS_VIABLE : 0;
    if (this.group.inContainer) flags = VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET;
    status.setU32(GroupStatus.at.flags, flags);
    copyOut(caller, argument, status, GroupStatus.size);
    return 0;
  }

  /**
   * EFAULT, EBADF; EINVAL: it has one; EINVAL or EBADFD: no container; EPERM: not viable; and what
   * attaching answers.
   */
  private setContainer(caller: Caller, argument: number): number {
    if (!caller.mm.copyFrom(argument, descriptor.bytes)) fail('EFAULT');
    const file = caller.file(descriptor.s32(0));
    if (!file) fail('EBADF');
    if (this.group.inContainer) fail('EINVAL');
    if (file.kind !== 'vfio' || !(file.file instanceof ContainerFile)) {
      return fail(this.group.machine.kernel.notAContainer);
    }
    this.group.setContainer(file.file.container);
    return 0;
  }

  /**
   * EFAULT; EINVAL: a name of more than a page; ENODEV: no such device; EINVAL: no IOMMU; EMFILE.
   */
  private getDevice(caller: Caller, argument: number): number {
    const device = findDevice(caller, argument, this.group.boundDevices);
    const file = this.group.openDevice(device);
    try {
      return caller.install(file);
    } catch (error) {
      file.release();
      throw error;
    }
  }
}
