/**
 * What recorded cases need that is not there yet: they are neither replayed nor skipped in silence,
 * but counted by name.
 */
import { IommufdIoctl } from '../../src/abi/iommufd.js';
import { usesTestInterface, type VectorCase } from './vectors.js';

/** What a case needs, or null: it is replayed. */
export function notYet(vectorCase: VectorCase): string | null {
  if (usesTestInterface(vectorCase)) return 'the mock IOMMU of IOMMU_TEST_CMD';
  const { steps } = vectorCase;
  if (steps.some(({ nr }) => nr! % 2 ** 32 === IommufdIoctl.IOMMU_IOAS_MAP_FILE))
    return 'IOMMU_IOAS_MAP_FILE';
  return null;
}
