/** How devices of a container with stages get a first stage, and lose it (R8.1). */
import { ArgumentBuffer } from '../abi/argument-buffer.js';
import { fail } from '../abi/errno.js';
import { Stage1Attach, Stage1Detach } from '../abi/vfio-structs.js';
import { copyIn, copyOut } from '../file/argument.js';
import type { Caller } from '../file/caller.js';
import type { IoSpace } from '../ioas/io-space.js';
import type { PciFunction } from './pci-function.js';
import { Stage1File } from './stage1-file.js';

const attachment = new ArgumentBuffer(Stage1Attach.size);
const header = new ArgumentBuffer(Stage1Detach.size);

/** A device's way through a first stage, for as long as its files are open. */
export class Stage1Attachment {
  private file: Stage1File | null = null;

  constructor(private readonly pciFunction: PciFunction) {}

  /**
   * VFIO_DEVICE_ATTACH_STAGE1. EFAULT; EINVAL: argsz, flags, a descriptor that is no fault queue of
   * the device's container; EBADF; ENODEV: the device cannot wait for a guest; EBUSY: it has a
   * first stage.
   */
  attach(caller: Caller, argument: number, space: IoSpace): void {
    copyIn(caller, argument, attachment, Stage1Attach.size);
    const { at } = Stage1Attach;
    if (attachment.u32(at.flags) !== 0) fail('EINVAL');
    const found = caller.file(attachment.s32(at.queue_fd));
    if (found === null) fail('EBADF');
    if (found.kind !== 'vfio' || !(found.file instanceof Stage1File) || found.file.space !== space)
      fail('EINVAL');
    const id = found.file.attach(this.pciFunction.iommu);
    this.file = found.file;
    attachment.setU32(at.out_dev_id, id);
    try {
      copyOut(caller, argument, attachment, Stage1Attach.size);
    } catch (error) {
      this.release();
      throw error;
    }
  }

  /** VFIO_DEVICE_DETACH_STAGE1. EFAULT; EINVAL: argsz, flags, nothing attached. */
  detach(caller: Caller, argument: number): void {
    copyIn(caller, argument, header, Stage1Detach.size);
    if (header.u32(Stage1Detach.at.flags) !== 0 || this.file === null) fail('EINVAL');
    this.release();
  }

  /** The device's last file is gone: whatever waits is answered INVALID. */
  release(): void {
    this.file?.detach(this.pciFunction.iommu);
    this.file = null;
  }
}
