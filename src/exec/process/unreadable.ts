import { Errno } from '../../abi/errno.js';
import { IovecArray } from '../../mm/process/iovec.js';
import { allocateNative, errno, processVmReadv } from '../../mm/process/libc.js';
import { whoRefuses } from '../run/refusal.js';

const byte = allocateNative(1);

/** Processes whose memory iopf may not read: one that became another user, for example. */
export class Unreadable {
  private told = false;
  private readonly local = new IovecArray(1);
  private readonly remote = new IovecArray(1);

  /** @param tell shows the user a line */
  constructor(private readonly tell: (text: string) => void) {
    this.local.push(byte.address, 1);
    this.remote.push(0, 1);
  }

  /**
   * A pointer of a thread's could not be followed. Where that is so because the kernel lets iopf
   * read nothing of it, the user is told once: VFIO's files are not there for such a process.
   */
  suspect(tid: number): void {
    const { local, remote } = this;
    if (this.told) return;
    // The right to read is asked about before the address (mm/process_vm_access.c).
    if (processVmReadv(tid, local.address, 1, remote.address, 1, 0) >= 0) return;
    const code = errno();
    if (code !== Errno.EPERM) return;
    this.told = true;
    const why = whoRefuses('process_vm_readv', code, () => processVmReadv(-1, 0, 0, 0, 0, 0));
    this.tell(`task ${tid} cannot use VFIO, because iopf may not read its memory: ${why}`);
  }
}
