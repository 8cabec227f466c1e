import { Bug } from '../abi/bug.js';
import { FlowLock } from '../flow/flow.js';
import type { IommuGroup } from '../iommu/group.js';
import type { AddressSpace } from '../mm/address-space.js';
import type { LockAccount } from '../mm/lock-account.js';
import type { AttachedGroup } from './device.js';
import type { Ioas } from './ioas.js';
import { accountFor, type RlimitMode } from './locked-memory.js';
import type { IommufdMachine } from './machine.js';
import { ObjectTable } from './objects.js';

/**
 * What stands behind an open /dev/iommu (kernel: struct iommufd_ctx). It lives while its descriptor
 * is open, or a device is bound to it, or one of its other files is open; then all that is left in
 * it goes.
 */
export class IommufdContext {
  readonly objects = new ObjectTable();
  /** What calls of type1 are about; null: they are ENODEV. */
  compatIoas: Ioas | null = null;
  private readonly groups = new WeakMap<IommuGroup, AttachedGroup>();
  private references = 1;

  constructor(
    readonly machine: IommufdMachine,
    public rlimitMode: RlimitMode = 'user',
  ) {}

  /** Where memory that a process maps now is charged. */
  accountOf(mm: AddressSpace): LockAccount {
    return accountFor(mm, this.rlimitMode, this.machine.userLocks);
  }

  /** The devices of a group that are bound here. */
  groupOf(iommuGroup: IommuGroup): AttachedGroup {
    let group = this.groups.get(iommuGroup);
    if (group === undefined) {
      group = { iommuGroup, attachments: new Map(), lock: new FlowLock('group') };
      this.groups.set(iommuGroup, group);
    }
    return group;
  }

  hold(): void {
    this.references++;
  }

  drop(): void {
    if (this.references === 0) throw new Bug('a context is dropped more often than held', {});
    if (--this.references === 0) this.objects.removeAll();
  }
}
