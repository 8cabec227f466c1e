/**
 * What recorded cases need that is not there yet: they are neither replayed nor skipped in silence,
 * but counted by name.
 */
import { IommufdIoctl } from '../../src/abi/iommufd.js';
import { usesTestInterface, type VectorCase } from './vectors.js';

const there: readonly number[] = [
  IommufdIoctl.IOMMU_DESTROY,
  IommufdIoctl.IOMMU_IOAS_ALLOC,
  IommufdIoctl.IOMMU_IOAS_ALLOW_IOVAS,
  IommufdIoctl.IOMMU_IOAS_COPY,
  IommufdIoctl.IOMMU_IOAS_IOVA_RANGES,
  IommufdIoctl.IOMMU_IOAS_MAP,
  IommufdIoctl.IOMMU_IOAS_UNMAP,
  IommufdIoctl.IOMMU_OPTION,
  IommufdIoctl.IOMMU_HWPT_ALLOC,
  IommufdIoctl.IOMMU_GET_HW_INFO,
  IommufdIoctl.IOMMU_FAULT_QUEUE_ALLOC,
  IommufdIoctl.IOMMU_VFIO_IOAS,
];
const missing: readonly number[] = Object.values(IommufdIoctl).filter(
  (number) => !there.includes(number),
);

/** What a case needs, or null: it is replayed. */
export function notYet(vectorCase: VectorCase): string | null {
  const { steps } = vectorCase;
  if (!usesIommufd(vectorCase)) return null;
  if (usesTestInterface(vectorCase)) return 'the mock IOMMU of IOMMU_TEST_CMD';
  if (steps.some(({ nr }) => missing.includes(nr! % 2 ** 32)))
    return 'calls of page tables, fault queues and what is newer';
  return null;
}

function usesIommufd({ steps }: VectorCase): boolean {
  return steps.some(
    ({ path }) => path === '/dev/iommu' || path?.startsWith('/dev/vfio/devices/') === true,
  );
}
