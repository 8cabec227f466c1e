import { Bug } from '../abi/bug.js';
import { Errno, fail } from '../abi/errno.js';
import { removeAt } from '../flow/list.js';
import type { Fault, FaultLevel, PageRequestGroup } from './page-request.js';

/**
 * How many groups may wait for an answer, and how many partial requests for the rest of their
 * group.
 */
export interface PageRequestLimits {
  readonly pendingGroups: number;
  readonly partialRequests: number;
}

const defaultPageRequestLimits: PageRequestLimits = {
  pendingGroups: 512,
  partialRequests: 1024,
};

/** Group ids are 9 bits in PCIe. */
const GROUP_IDS = 512;

/** A device's page requests that are not answered yet. */
export class PageRequestQueue {
  private readonly pending: PageRequestGroup[] = [];
  private partial: Fault[] = [];
  private nextId = 0;

  constructor(readonly limits: PageRequestLimits = defaultPageRequestLimits) {}

  /** Groups that wait for their answer. */
  get pendingCount(): number {
    return this.pending.length;
  }

  /** The groups that wait, in the order in which they came. */
  get pendingGroups(): readonly PageRequestGroup[] {
    return this.pending;
  }

  get partialCount(): number {
    return this.partial.length;
  }

  /** Requests that wait for the last of their group. */
  get partialRequests(): readonly Fault[] {
    return this.partial;
  }

  /** The id that is tried first for the next group. */
  get nextGroup(): number {
    return this.nextId;
  }

  get full(): boolean {
    return this.pending.length >= this.limits.pendingGroups;
  }

  /** An id that no pending group has. */
  takeId(): number {
    for (let tries = 0; tries < GROUP_IDS; tries++) {
      const id = this.nextId;
      this.nextId = (id + 1) % GROUP_IDS;
      if (this.pending.length === 0 || !this.uses(id)) return id;
    }
    throw new Bug('every page request group id is pending', { pending: this.pending.length });
  }

  /** Keeps a request until the last of its group comes; false where there is no room. */
  addPartial(fault: Fault): boolean {
    if (this.partial.length >= this.limits.partialRequests) return false;
    this.partial.push(fault);
    return true;
  }

  /** The partial requests of the group that `last` ends, with `last` behind them. */
  takeGroup(last: Fault): Fault[] {
    if (this.partial.length === 0) return [last];
    const same = (fault: Fault) => sameGroup(fault, last);
    const requests = this.partial.filter(same);
    this.partial = this.partial.filter((fault) => !same(fault));
    requests.push(last);
    return requests;
  }

  /** Drops partial requests: none is answered once reporting has ended. Returns how many. */
  discardPartials(): number {
    const dropped = this.partial.length;
    this.partial = [];
    return dropped;
  }

  addPending(group: PageRequestGroup): void {
    this.pending.push(group);
  }

  /** Whether a group with this name waits; a second one would be ambiguous. */
  isPending(pasid: number, group: number): boolean {
    return this.indexOf(pasid, group) >= 0;
  }

  /** Whether a group for this page table waits. */
  hasPending(level: FaultLevel): boolean {
    return this.pending.some((group) => group.level === level);
  }

  /** Whether this very group waits, and not another with its name. */
  isStillPending(group: PageRequestGroup): boolean {
    return this.pending.includes(group);
  }

  /** Takes every pending group. */
  takeAllPending(): PageRequestGroup[] {
    return this.pending.splice(0);
  }

  /** Takes the pending group that an answer names (R1.4); EINVAL where there is none. */
  takePending(pasid: number, group: number): PageRequestGroup {
    const index = this.indexOf(pasid, group);
    if (index < 0) fail('EINVAL');
    const taken = this.pending[index]!;
    removeAt(this.pending, index);
    return taken;
  }

  private indexOf(pasid: number, group: number): number {
    for (let i = 0; i < this.pending.length; i++) {
      const entry = this.pending[i]!;
      if (entry.pasid === pasid && entry.group === group) return i;
    }
    return -1;
  }

  private uses(id: number): boolean {
    for (const entry of this.pending) if (entry.group === id) return true;
    return false;
  }
}

function sameGroup(a: Fault, b: Fault): boolean {
  return a.group === b.group && a.pasid === b.pasid && a.level === b.level;
}

/** What is wrong with a fault as reported, as an errno; 0 where nothing is. */
export function faultErrno(fault: Fault, nested: boolean): number {
  if (!(fault.iovaPage >= 0) || !Number.isInteger(fault.iovaPage)) return Errno.EINVAL;
  if ((fault.level === 'flat') === nested) return Errno.EOPNOTSUPP;
  return 0;
}
