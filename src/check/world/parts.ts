/** The parts of the shipped code that a run is made of; a variant puts others in their place. */
import { DriverPinning } from '../../ioas/driver-pins.js';
import { IoSpace, type IoSpaceParts } from '../../ioas/io-space.js';
import { Iopf } from '../../ioas/iopf/iopf.js';
import { IommuDevice } from '../../iommu/device.js';
import { Domain } from '../../iommu/domain.js';
import { type PageRequestLimits, PageRequestQueue } from '../../iommu/page-request-queue.js';
import { PageRequests, type ReportingDevice } from '../../iommu/page-requests.js';

export interface Parts extends IoSpaceParts {
  readonly IoSpace: typeof IoSpace;
  readonly IommuDevice: typeof IommuDevice;
  readonly Domain: typeof Domain;
  readonly requests: (device: ReportingDevice, limits: PageRequestLimits) => PageRequests;
}

export const shippedParts: Parts = {
  IoSpace,
  Iopf,
  DriverPinning,
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
