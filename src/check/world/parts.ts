/** The parts of the shipped code that a run is made of; a variant puts others in their place. */
import { DriverPinning } from '../../ioas/driver-pins.js';
import { IoSpace, type IoSpaceParts } from '../../ioas/io-space.js';
import type { IopfBackend } from '../../ioas/iopf/backend.js';
import { Iopf, type IopfOptions, type IopfParts } from '../../ioas/iopf/iopf.js';
import { IommuDevice } from '../../iommu/device.js';
import { Domain } from '../../iommu/domain.js';
import { type PageRequestLimits, PageRequestQueue } from '../../iommu/page-request-queue.js';
import { PageRequests, type ReportingDevice } from '../../iommu/page-requests.js';
import type { Digest } from './digest.js';

/** What a variant may replace. */
export interface VariantParts extends IoSpaceParts {
  readonly IoSpace: typeof IoSpace;
  readonly IommuDevice: typeof IommuDevice;
  readonly Domain: typeof Domain;
  /** Makes a device's page requests. */
  readonly requests: (device: ReportingDevice, limits: PageRequestLimits) => PageRequests;
}

export interface Parts extends VariantParts {
  /** Null: fingerprints and checkpoints know all that the parts keep. */
  readonly watch: StateWatch | null;
}

/** What parts keep that no fingerprint knows; such a world is made anew for every order. */
export interface StateWatch {
  /** A world is about to be made. */
  begin(): void;
  addTo(digest: Digest): void;
}

export const shippedParts: Parts = {
  IoSpace,
  Iopf,
  DriverPinning,
  IommuDevice,
  Domain,
  requests: (device, limits) => new PageRequests(device, new PageRequestQueue(limits)),
  watch: null,
};

/** The shipped IOPF side with other parts. */
export function iopfWith(parts: Partial<IopfParts>): typeof Iopf {
  return class extends Iopf {
    static readonly replaced = parts;

    constructor(backend: IopfBackend, options: IopfOptions) {
      super(backend, { ...options, parts });
    }
  };
}

/** A design that is not the shipped one: some parts of it replaced. */
export interface Variant {
  readonly name: string;
  /** Row of docs/series.md whose finding it shows. */
  readonly row: string;
  readonly about: string;
  readonly parts: Partial<VariantParts>;
}
