import { Bug } from '../abi/bug.js';
import type { IommuDevice } from './device.js';

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

  constructor(readonly number: number) {}

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
