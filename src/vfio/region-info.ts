/**
 * VFIO_DEVICE_GET_REGION_INFO with its capability chain (kernel: vfio_pci_ioctl_get_region_info).
 */
import { ArgumentBuffer } from '../abi/argument-buffer.js';
import { fail } from '../abi/errno.js';
import type { KernelProfile } from '../abi/kernel.js';
import { writeStruct } from '../abi/layout.js';
import { PciRegionIndex } from '../abi/pci.js';
import { REGION_OFFSET, RegionCapability, RegionFlag } from '../abi/vfio.js';
import { InfoCapHeader, RegionInfo, SparseMmapArea, SparseMmapCap } from '../abi/vfio-structs.js';
import { copyIn, copyOut } from '../file/argument.js';
import type { Caller } from '../file/caller.js';
import { buildChain, copyChainOut } from './info-chain.js';
import type { PciFunction, PciRegion } from './pci-function.js';

const info = new ArgumentBuffer(RegionInfo.size);

/** EFAULT; EINVAL for a small argsz or an index that the function has no region for. */
export function getRegionInfo(
  caller: Caller,
  argument: number,
  pciFunction: PciFunction,
  kernel: KernelProfile,
): void {
  copyIn(caller, argument, info, RegionInfo.size);
  const index = info.u32(RegionInfo.at.index);
  const region = pciFunction.regions[index];
  if (!region || (index === PciRegionIndex.VGA && region.size === 0)) fail('EINVAL');
  info.setU64(RegionInfo.at.offset, index * REGION_OFFSET);
  info.setU64(RegionInfo.at.size, region.size);
  info.setU32(RegionInfo.at.flags, regionFlags(region));
  const chain = buildChain(capabilities(region), RegionInfo.size, kernel.capabilityAlignment);
  copyChainOut(
    caller,
    argument,
    info,
    RegionInfo.at,
    chain,
    RegionInfo.size,
    RegionFlag.VFIO_REGION_INFO_FLAG_CAPS,
  );
  copyOut(caller, argument, info, RegionInfo.size);
}

function regionFlags(region: PciRegion): number {
  if (region.size === 0) return 0;
  return (
    (region.readable ? RegionFlag.VFIO_REGION_INFO_FLAG_READ : 0) |
    (region.writable ? RegionFlag.VFIO_REGION_INFO_FLAG_WRITE : 0) |
    (region.mappable ? RegionFlag.VFIO_REGION_INFO_FLAG_MMAP : 0)
  );
}

function capabilities(region: PciRegion): Uint8Array[] {
  if (region.size === 0 || !region.mappable) return [];
  const list: Uint8Array[] = [];
  if (region.sparse) {
    const areas = region.sparse.map((area) => writeStruct(SparseMmapArea, area));
    const head = writeStruct(SparseMmapCap, {
      id: RegionCapability.VFIO_REGION_INFO_CAP_SPARSE_MMAP,
      version: 1,
      nr_areas: areas.length,
    });
    list.push(Uint8Array.from([head, ...areas].flatMap((part) => [...part])));
  }
  if (region.msixMappable) {
    list.push(
      writeStruct(InfoCapHeader, {
        id: RegionCapability.VFIO_REGION_INFO_CAP_MSIX_MAPPABLE,
        version: 1,
      }),
    );
  }
  return list;
}
