import type { IommuDevice } from '../iommu/device.js';
import type { PciFunction } from '../vfio/pci-function.js';

/** A PCI function without registers: its accesses come from a workload or a test. */
export function silentFunction(iommu: IommuDevice): PciFunction {
  const region = { size: 0, readable: false, writable: false, mappable: false };
  return {
    address: iommu.address,
    kind: 'simulated',
    iommu,
    regions: new Array(9).fill(region),
    interruptCounts: [0, 0, 0, 0, 0],
    resettable: false,
    open() {},
    release() {},
    reset() {},
    readRegion() {},
    writeRegion() {},
    interruptsEnabled() {},
    poll: () => false,
  };
}
