import { Errno } from '../abi/errno.js';
import type { AddressSpace } from './address-space.js';

/**
 * Where pinned pages are charged against RLIMIT_MEMLOCK: to a process, to a user, or to nobody.
 */
export interface LockAccount {
  /**
   * Adds pages and returns 0; ENOMEM above the limit, and then nothing is added. `anyway`: whatever
   * the limit is, for pages that were charged before.
   */
  charge(pages: number, anyway?: boolean): number;
  /** Takes pages off that were charged. */
  release(pages: number): void;
}

/** The account of a process (kernel: mm->locked_vm), as VFIO containers use it. */
export class ProcessAccount implements LockAccount {
  constructor(
    readonly mm: AddressSpace,
    /** CAP_IPC_LOCK when the mapping was made: charged, and never refused. */
    readonly unlimited: boolean,
  ) {}

  charge(pages: number, anyway = false): number {
    const { mm } = this;
    if (!anyway && !this.unlimited && mm.lockedPages + pages > mm.lockLimitPages)
      return Errno.ENOMEM;
    mm.accountLocked(pages);
    return 0;
  }

  release(pages: number): void {
    this.mm.accountLocked(-pages);
  }

  of(mm: AddressSpace): ProcessAccount {
    return new ProcessAccount(mm, this.unlimited);
  }
}
