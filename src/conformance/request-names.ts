/**
 * Names and argument layouts of requests, for messages. The recording names containers c…, groups
 * g…, devices d….
 */
import { IommufdIoctl } from '../abi/iommufd.js';
import * as iommufd from '../abi/iommufd-structs.js';
import type { StructLayout } from '../abi/layout.js';
import { ContainerIoctl, DeviceIoctl, GroupIoctl, Type1Ioctl } from '../abi/vfio.js';
import {
  DeviceFeature,
  DeviceInfo,
  DirtyBitmap,
  DmaMap,
  DmaUnmap,
  GroupStatus,
  IommuType1Info,
  IrqInfo,
  IrqSet,
  PciHotReset,
  PciHotResetInfo,
  RegionInfo,
} from '../abi/vfio-structs.js';

const deviceLayouts: Readonly<Record<number, StructLayout<string>>> = {
  [DeviceIoctl.VFIO_DEVICE_GET_INFO]: DeviceInfo,
  [DeviceIoctl.VFIO_DEVICE_GET_REGION_INFO]: RegionInfo,
  [DeviceIoctl.VFIO_DEVICE_GET_IRQ_INFO]: IrqInfo,
  [DeviceIoctl.VFIO_DEVICE_SET_IRQS]: IrqSet,
  [DeviceIoctl.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO]: PciHotResetInfo,
  [DeviceIoctl.VFIO_DEVICE_PCI_HOT_RESET]: PciHotReset,
  [DeviceIoctl.VFIO_DEVICE_FEATURE]: DeviceFeature,
};
const containerLayouts: Readonly<Record<number, StructLayout<string>>> = {
  [Type1Ioctl.VFIO_IOMMU_GET_INFO]: IommuType1Info,
  [Type1Ioctl.VFIO_IOMMU_MAP_DMA]: DmaMap,
  [Type1Ioctl.VFIO_IOMMU_UNMAP_DMA]: DmaUnmap,
  [Type1Ioctl.VFIO_IOMMU_DIRTY_PAGES]: DirtyBitmap,
};
const groupLayouts: Readonly<Record<number, StructLayout<string>>> = {
  [GroupIoctl.VFIO_GROUP_GET_STATUS]: GroupStatus,
};

const iommufdLayouts: Readonly<Record<number, StructLayout<string>>> = {
  [IommufdIoctl.IOMMU_DESTROY]: iommufd.Destroy,
  [IommufdIoctl.IOMMU_IOAS_ALLOC]: iommufd.IoasAlloc,
  [IommufdIoctl.IOMMU_IOAS_ALLOW_IOVAS]: iommufd.IoasAllowIovas,
  [IommufdIoctl.IOMMU_IOAS_COPY]: iommufd.IoasCopy,
  [IommufdIoctl.IOMMU_IOAS_IOVA_RANGES]: iommufd.IoasIovaRanges,
  [IommufdIoctl.IOMMU_IOAS_MAP]: iommufd.IoasMap,
  [IommufdIoctl.IOMMU_IOAS_UNMAP]: iommufd.IoasUnmap,
  [IommufdIoctl.IOMMU_OPTION]: iommufd.Option,
  [IommufdIoctl.IOMMU_VFIO_IOAS]: iommufd.VfioIoas,
  [IommufdIoctl.IOMMU_HWPT_ALLOC]: iommufd.HwptAlloc,
  [IommufdIoctl.IOMMU_GET_HW_INFO]: iommufd.HwInfo,
  [IommufdIoctl.IOMMU_FAULT_QUEUE_ALLOC]: iommufd.FaultAlloc,
  [IommufdIoctl.IOMMU_IOAS_MAP_FILE]: iommufd.IoasMapFile,
};

export function requestName(request: number, fd: string): string {
  const tables = fd.startsWith('d')
    ? [DeviceIoctl]
    : fd.startsWith('g')
      ? [GroupIoctl]
      : [ContainerIoctl, Type1Ioctl, IommufdIoctl];
  for (const table of tables) {
    for (const [name, number] of Object.entries(table)) if (number === request) return name;
  }
  return `0x${request.toString(16)}`;
}

export function requestLayout(request: number, fd: string): StructLayout<string> | undefined {
  if (fd.startsWith('d')) return deviceLayouts[request];
  if (fd.startsWith('g')) return groupLayouts[request];
  return containerLayouts[request] ?? iommufdLayouts[request];
}
