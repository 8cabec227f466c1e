import { Bug } from '../abi/bug.js';
import type { IommuDevice } from './device.js';

/** The smallest set of devices that the IOMMU can tell apart from the rest (kernel: iommu_group). */
export class IommuGroup {
  readonly devices: IommuDevice[] = [];
  /**
   * Where its devices may fault, as pages [first, end): outside they cannot wait, and their driver has pinned what they use
   * there (R7.1). Null: everywhere.
   */
  faultable: readonly { readonly first: number; readonly end: number }[] | null = null;

  constructor(readonly number: number) {}

  /** Whether a fault of its devices at a page can be waited for. */
  mayFault(page: number): boolean {
    return this.faultable === null || this.faultable.some(({ first, end }) => page >= first && page < end);
  }

  add(device: IommuDevice): void {
    if (device.group !== null) throw new Bug('device is in a group already', { device: device.address });
    device.group = this;
    this.devices.push(device);
  }
}
