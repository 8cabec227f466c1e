import { type DeviceFaultHandler, PageResponse } from '../../iommu/page-request.js';

/** Somebody else's handler, for devices that are in use elsewhere. */
export const foreignHandler: DeviceFaultHandler = {
  answer: () => PageResponse.INVALID,
  // biome-ignore lint/correctness/useYield: it never waits
  *handle() {
    return PageResponse.INVALID;
  },
  pageLost: () => {},
};
