import { Bug } from '../abi/bug.js';
import { fail } from '../abi/errno.js';
import type { IommuDevice } from './device.js';
import { defaultGeometry, type IommuProperties } from './geometry.js';

/** Pages [first, end). */
export interface PageRange {
  readonly first: number;
  readonly end: number;
}

/**
 * The smallest set of devices that the IOMMU can tell apart from the rest (kernel: iommu_group).
 */
export class IommuGroup {
  readonly devices: IommuDevice[] = [];
  /**
   * Where its devices may fault, as pages [first, end): outside they cannot wait, and their driver
   * has pinned what they use there (R7.1). Null: everywhere.
   */
  faultable: readonly PageRange[] | null = null;

  /** Who has its DMA (kernel: iommu_group.owner), and how often it was taken. */
  private owner: object | null = null;
  private claims = 0;

  constructor(
    readonly number: number,
    /** Of the IOMMU in front of it. */
    readonly geometry: IommuProperties = defaultGeometry,
  ) {}

  /**
   * Takes the group's DMA for an owner, or takes it once more. EBUSY, or `refusal`: somebody else
   * has it.
   */
  claim(owner: object, refusal: 'EBUSY' | 'EPERM' = 'EBUSY'): void {
    if (this.owner !== null && this.owner !== owner) fail(refusal);
    this.owner = owner;
    this.claims++;
  }

  /** Undoes one `claim`. */
  unclaim(): void {
    if (this.claims === 0) throw new Bug('group is not claimed', { group: this.number });
    if (--this.claims === 0) this.owner = null;
  }

  get isClaimed(): boolean {
    return this.owner !== null;
  }

  /** Whether this is who has its DMA. */
  isOwnedBy(owner: object): boolean {
    return this.owner === owner;
  }

  /** Whether a fault of its devices at a page can be waited for. */
  mayFault(page: number): boolean {
    return (
      this.faultable === null ||
      this.faultable.some(({ first, end }) => page >= first && page < end)
    );
  }

  add(device: IommuDevice): void {
    if (device.group !== null)
      throw new Bug('device is in a group already', { device: device.address });
    device.group = this;
    if (device.faultable !== null) this.faultable = common(this.faultable, device.faultable);
    this.devices.push(device);
  }
}

/** The pages that are in both; null is all of them. */
function common(
  one: readonly PageRange[] | null,
  other: readonly PageRange[],
): readonly PageRange[] {
  if (one === null) return other;
  return one
    .flatMap((a) =>
      other.map((b) => ({ first: Math.max(a.first, b.first), end: Math.min(a.end, b.end) })),
    )
    .filter(({ first, end }) => first < end);
}
