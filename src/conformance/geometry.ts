/** The IOMMU of a recording. */
import { defaultGeometry, type IommuProperties } from '../iommu/geometry.js';
import { PAGE_SIZE } from '../mm/address-space.js';
import type { VectorFile } from './vectors.js';

/**
 * Width and holes from the ranges that were recorded; the rest from how the machine is described.
 */
export function recordedGeometry(file: VectorFile): IommuProperties {
  const { geometry } = file;
  const last = geometry?.iovaRanges?.at(-1);
  // Without an IOMMU there are no ranges.
  if (!geometry || !last) return defaultGeometry;
  const lastEnd = Number(last[1]);
  return {
    ...defaultGeometry,
    addressWidth: Math.round(Math.log2(lastEnd)),
    reserved: holes(geometry.iovaRanges),
    cachingMode: file.boot.startsWith('aw39'),
    snoopControl: geometry.iommu.includes('snoop-control=on'),
    interruptRemapping: !file.boot.startsWith('noir'),
  };
}

/** Whether the recorded machine has an IOMMU, and so groups. */
export function hasIommu(file: VectorFile): boolean {
  return !file.boot.startsWith('noiommu');
}

/** What lies between the ranges is reserved. */
function holes(ranges: readonly (readonly [string, string])[]): IommuProperties['reserved'] {
  return ranges.slice(1).map(([start], i) => {
    const first = (Number(ranges[i]![1]) + 1) / PAGE_SIZE;
    return { firstPage: first, pages: Number(start) / PAGE_SIZE - first, kind: 'msi' };
  });
}
