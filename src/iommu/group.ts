import { Bug } from '../abi/bug.js';
import type { IommuDevice } from './device.js';

/** The smallest set of devices that the IOMMU can tell apart from the rest (kernel: iommu_group). */
export class IommuGroup {
  readonly devices: IommuDevice[] = [];

  constructor(readonly number: number) {}

  add(device: IommuDevice): void {
    if (device.group !== null) throw new Bug('device is in a group already', { device: device.address });
    device.group = this;
    this.devices.push(device);
  }
}
