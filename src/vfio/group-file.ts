/** The files of VFIO groups (kernel: vfio/group.c). */
import { ArgumentBuffer } from '../abi/argument-buffer.js';
import { fail } from '../abi/errno.js';
import { GroupFlag, GroupIoctl } from '../abi/vfio.js';
import { GroupStatus } from '../abi/vfio-structs.js';
import { copyIn, copyOut } from '../file/argument.js';
import type { Caller } from '../file/caller.js';
import { noMapping, noTransfer, type VfioFile } from '../file/file.js';
import { IommufdFile } from '../iommufd/iommufd-file.js';
import { ContainerFile } from './container.js';
import { findDevice } from './device-name.js';
import type { VfioGroup } from './group.js';

const status = new ArgumentBuffer(GroupStatus.size);
const descriptor = new ArgumentBuffer(4);

/** open(2) of /dev/vfio/N: ENOENT, EBUSY. */
export function openGroup(group: VfioGroup): VfioFile {
  const file = new GroupFile(group);
  group.open();
  return file;
}

/** An open /dev/vfio/N. */
export class GroupFile implements VfioFile {
  readonly kind = 'group';
  readonly read = noTransfer;
  readonly write = noTransfer;
  readonly mmap = noMapping;
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
    if (file.kind === 'vfio' && file.file instanceof IommufdFile) {
      this.group.setIommufd(file.file.context);
      return 0;
    }
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
