/**
 * Where an iommufd charges what it pins (kernel: do_update_pinned): per user, over all processes
 * and contexts, or per process, or nowhere.
 */
import { Errno } from '../abi/errno.js';
import type { AddressSpace } from '../mm/address-space.js';
import { type LockAccount, ProcessAccount } from '../mm/lock-account.js';

/** Pages that a user has locked by iommufds (kernel: user_struct.locked_vm). */
export class UserLocks {
  pages = 0;
}

/** An account that others have likes of. */
interface LimitedAccount extends LockAccount {
  /** The same for another process. */
  of(mm: AddressSpace): LimitedAccount;
}

/** Every pinned page is counted in VmPin, whoever pays for it. */
export class PinAccount implements LockAccount {
  constructor(
    private readonly mm: AddressSpace,
    /** Null: CAP_IPC_LOCK when the memory was mapped. */
    private readonly limited: LimitedAccount | null,
  ) {}

  charge(pages: number, anyway = false): number {
    const errno = this.limited === null ? 0 : this.limited.charge(pages, anyway);
    if (errno === 0) this.mm.accountPinned?.(pages);
    return errno;
  }

  release(pages: number): void {
    this.limited?.release(pages);
    this.mm.accountPinned?.(-pages);
  }

  /**
   * The account of another process that pays in the same way (kernel: change_mm), and whether what
   * is charged must be moved there: without a limit nothing is.
   */
  of(mm: AddressSpace): { account: PinAccount; moves: boolean } {
    const { limited } = this;
    const same = limited === null ? null : limited.of(mm);
    return { account: new PinAccount(mm, same), moves: limited !== null && mm !== this.mm };
  }
}

/** RLIMIT_MODE 0: the limit is the mapping process's, what counts is all of its user's. */
class UserAccount implements LockAccount {
  constructor(
    private readonly mm: AddressSpace,
    private readonly user: UserLocks,
  ) {}

  charge(pages: number, anyway = false): number {
    const { user, mm } = this;
    if (!anyway && user.pages + pages > mm.lockLimitPages) return Errno.ENOMEM;
    user.pages += pages;
    return 0;
  }

  release(pages: number): void {
    this.user.pages -= pages;
  }

  of(mm: AddressSpace): UserAccount {
    return new UserAccount(mm, this.user);
  }
}

/** IOMMU_OPTION_RLIMIT_MODE: whose pages count. */
export type RlimitMode = 'user' | 'process';

/** Where memory that a process maps now is charged. */
export function accountFor(mm: AddressSpace, mode: RlimitMode, user: UserLocks): LockAccount {
  if (mm.ipcLock) return new PinAccount(mm, null);
  return new PinAccount(
    mm,
    mode === 'user' ? new UserAccount(mm, user) : new ProcessAccount(mm, false),
  );
}
