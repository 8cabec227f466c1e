/** The parts of the shipped code that a run is made of; a variant puts others in their place. */
import { IommuDevice } from '../../iommu/device.js';
import { Domain } from '../../iommu/domain.js';
import type { IommuGeometry } from '../../iommu/geometry.js';
import { type PageRequestLimits, PageRequestQueue } from '../../iommu/page-request-queue.js';
import { PageRequests, type ReportingDevice } from '../../iommu/page-requests.js';
import type { MachineState } from '../../vfio/machine-state.js';
import { Type1 } from '../../vfio/type1/type1.js';

/** A machine that hands out used domains, because making one costs more than a whole run. */
export interface CheckMachine extends MachineState {
  takeDomain(geometry: IommuGeometry): Domain;
}

/** The shipped backend, with domains that are used again. */
export class CheckType1 extends Type1 {
  protected override createDomain(geometry: IommuGeometry): Domain {
    return (this.machine as CheckMachine).takeDomain(geometry);
  }
}

export interface Parts {
  readonly Type1: typeof CheckType1;
  readonly IommuDevice: typeof IommuDevice;
  readonly Domain: typeof Domain;
  readonly requests: (device: ReportingDevice, limits: PageRequestLimits) => PageRequests;
}

export const shippedParts: Parts = {
  Type1: CheckType1,
  IommuDevice,
  Domain,
  requests: (device, limits) => new PageRequests(device, new PageRequestQueue(limits)),
};

/** A design that is not the shipped one: some parts of it replaced. */
export interface Variant {
  readonly name: string;
  /** Row of docs/series.md whose finding it shows. */
  readonly row: string;
  readonly about: string;
  readonly parts: Partial<Parts>;
}
