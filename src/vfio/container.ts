/**
 * VFIO containers and their files (kernel: vfio/container.c).
 *
 * A container lives while its descriptor is open or a group is in it. Its IOMMU is chosen once,
 * while groups are in it, and goes with the last of them, and all mappings with it.
 */
import { fail } from '../abi/errno.js';
import { ContainerIoctl, VFIO_API_VERSION, VfioExtension } from '../abi/vfio.js';
import type { Caller } from '../file/caller.js';
import { noMapping, noTransfer, type VfioFile } from '../file/file.js';
import type { IoSpace } from '../ioas/io-space.js';
import type { IommuGroup } from '../iommu/group.js';
import type { MachineState } from './machine-state.js';
import { type1Ioctl } from './type1/ioctl.js';
import { checkExtension, openType1, type Type1 } from './type1/type1.js';

export class Container {
  private readonly groups: IommuGroup[] = [];
  /** Its IOMMU, once chosen. */
  private type1: Type1 | null = null;

  constructor(private readonly machine: MachineState) {}

  get isEmpty(): boolean {
    return this.groups.length === 0;
  }

  /** Where the DMA of its groups goes, once it has an IOMMU. */
  get space(): IoSpace | null {
    return this.type1?.space ?? null;
  }

  /** Its IOMMU has second stages, above which programs may put their own (R8.1). */
  get nesting(): boolean {
    return this.type1?.nesting ?? false;
  }

  ioctl(caller: Caller, request: number, argument: number): number {
    switch (request) {
      case ContainerIoctl.VFIO_GET_API_VERSION:
        return VFIO_API_VERSION;
      case ContainerIoctl.VFIO_CHECK_EXTENSION:
        return this.machine.type1Module
          ? checkExtension(this.machine, this.type1, this.groups, argument)
          : 0;
      case ContainerIoctl.VFIO_SET_IOMMU:
        this.setIommu(argument);
        return 0;
      default:
        return this.type1 ? type1Ioctl(caller, request, argument, this.type1) : fail('EINVAL');
    }
  }

  /**
   * Takes a group in and gives it the container's IOMMU. What attaching answers; then nothing
   * changed.
   */
  addGroup(group: IommuGroup): void {
    this.type1?.attach(group);
    this.groups.push(group);
  }

  /** A group leaves, with its IOMMU; the last one takes the mappings along. */
  removeGroup(group: IommuGroup): void {
    this.type1?.detach(group);
    this.groups.splice(this.groups.indexOf(group), 1);
    if (this.groups.length > 0) return;
    this.type1?.release();
    this.type1 = null;
  }

  /**
   * EINVAL: no group, or an IOMMU already, or a type that cannot be opened; ENODEV: no such type;
   * and what attaching answers.
   */
  private setIommu(type: number): void {
    if (this.groups.length === 0 || this.type1) fail('EINVAL');
    if (!this.machine.type1Module) fail('ENODEV');
    if (type === VfioExtension.VFIO_IOPF || checkExtension(this.machine, null, [], type) === 0)
      fail('ENODEV');
    const type1 = openType1(this.machine, type);
    const attached: IommuGroup[] = [];
    try {
      for (const group of this.groups) {
        type1.attach(group);
        attached.push(group);
      }
      type1.enableIopfByDefault();
    } catch (error) {
      for (const group of attached.reverse()) type1.detach(group);
      throw error;
    }
    this.type1 = type1;
  }
}

/** An open /dev/vfio/vfio. */
export class ContainerFile implements VfioFile {
  readonly kind = 'container';
  readonly name = '/dev/vfio/vfio';
  readonly read = noTransfer;
  readonly write = noTransfer;
  readonly mmap = noMapping;

  constructor(readonly container: Container) {}

  /** Without groups it answers by what the machine is, and refuses the rest. */
  get standsAlone(): boolean {
    return this.container.isEmpty;
  }

  ioctl(caller: Caller, request: number, argument: number): number {
    return this.container.ioctl(caller, request, argument);
  }

  release(): void {
    // Groups hold the container; without any it has neither mappings nor an IOMMU.
  }
}
