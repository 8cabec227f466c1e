/** Trace lines in the kernel's texts (trace/events/iommu.h), as tools for it expect them. */
import { PAGE_SIZE } from '../mm/address-space.js';
import type { TraceFormat } from './trace-file.js';

const FAULT_PAGE_REQUEST = 2;
const FLAG_PASID_VALID = 1;
const FLAG_LAST_PAGE = 2;

export function kernelTrace(): TraceFormat {
  const address = (page: number): string =>
    `0x${(page * PAGE_SIZE).toString(16).padStart(16, '0')}`;
  return {
    begin: '',
    end: '',
    observer: (put) => ({
      map(iovaPage, frame, count) {
        put(
          `map: IOMMU: iova=${address(iovaPage)} - ${address(iovaPage + count)} paddr=${address(frame)} size=${count * PAGE_SIZE}\n`,
        );
      },
      unmap(iovaPage, count, removed) {
        put(
          `unmap: IOMMU: iova=${address(iovaPage)} - ${address(iovaPage + count)} size=${count * PAGE_SIZE} unmapped_size=${removed * PAGE_SIZE}\n`,
        );
      },
      pageRequest(device, iovaPage, access, pasid, group, last) {
        const flags = (pasid >= 0 ? FLAG_PASID_VALID : 0) | (last ? FLAG_LAST_PAGE : 0);
        put(
          `dev_fault: IOMMU:${device.address} type=${FAULT_PAGE_REQUEST} reason=0 addr=${address(iovaPage)} pasid=${Math.max(pasid, 0)} group=${group} flags=${flags} prot=${access}\n`,
        );
      },
      pageResponse(device, pasid, group, code) {
        put(
          `dev_page_response: IOMMU:${device.address} code=${code} pasid=${Math.max(pasid, 0)} group=${group}\n`,
        );
      },
    }),
  };
}
