/**
 * System calls that lock memory: what VFIO has pinned counts against the same limit
 * (RLIMIT_MEMLOCK), and the kernel knows nothing of VFIO's pins.
 */

import { readlinkSync } from 'node:fs';
import { Errno, VfioError } from '../../abi/errno.js';
import { MAP_LOCKED, O_CLOEXEC } from '../../abi/linux.js';
import { close, syscall } from '../../mm/process/libc.js';
import type { ProcessSpace } from '../../mm/process/space.js';
import type { CallContext, Handlers } from './context.js';

/** Where a descriptor of memfd_secret(2) leads. */
const SECRET = '/secretmem (deleted)';

export class LockCalls {
  readonly handlers: Handlers;

  constructor(private readonly context: CallContext) {
    this.handlers = {
      mlock: () => this.mlock(),
      mlock2: () => this.mlock(),
      memfd_secret: () => this.makeSecret(),
    };
  }

  /** The current mmap. EAGAIN: it would lock more than the limit has room for. */
  checkMap(): void {
    const { call, descriptors, processes } = this.context;
    const fd = call.int(4);
    const locks = (call.int(3) & MAP_LOCKED) !== 0;
    if (!locks && !descriptors.inWindow(fd)) return;
    const process = processes.known(call.tid);
    if (process === null || process.space.mayLockMore(call.argument(1))) return;
    if (locks || linkOf(`/proc/${process.task}/fd/${fd}`) === SECRET)
      throw new VfioError(Errno.EAGAIN);
  }

  /** An mremap from `oldLength` to `newLength` bytes. EAGAIN: as `checkMap`, of a locked area. */
  checkGrowth(space: ProcessSpace, address: number, oldLength: number, newLength: number): void {
    if (newLength <= oldLength || space.mayLockMore(newLength - oldLength)) return;
    if (space.isLocked(address)) throw new VfioError(Errno.EAGAIN);
  }

  private mlock(): void {
    const { call, processes } = this.context;
    const space = processes.spaceOf(call.tid);
    if (space && !space.mayLock(call.argument(0), call.argument(1)))
      throw new VfioError(Errno.ENOMEM);
    call.proceed();
  }

  /**
   * A process that uses VFIO gets its secret memory under a number in the window, where its mmap
   * is intercepted.
   */
  private makeSecret(): void {
    const { architecture, call, descriptors, processes } = this.context;
    const process = processes.known(call.tid);
    const flags = call.uint(0);
    if (process === null || (flags & ~O_CLOEXEC) !== 0) return call.proceed();
    const number = descriptors.freeNumber(process, 0);
    const fd = syscall(architecture.nr.memfd_secret, O_CLOEXEC, 0, 0, 0, 0, 0);
    // The kernel has none, or the engine's descriptors are used up.
    if (fd < 0) return call.proceed();
    const made = call.answerWithFile(fd, number, flags !== 0);
    close(fd);
    if (made < 0) throw new VfioError(-made);
  }
}

function linkOf(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null;
  }
}
