/** Names of the ioctls of VFIO and iommufd, as rules have them. */
import { IommufdIoctl } from '../abi/iommufd.js';
import {
  CdevIoctl,
  ContainerIoctl,
  DeviceIoctl,
  GroupIoctl,
  IopfIoctl,
  Stage1DeviceIoctl,
  Stage1Ioctl,
  Type1Ioctl,
} from '../abi/vfio.js';

/** A request on a kind of file; one number is several requests. */
export interface CallRequest {
  readonly file: string;
  readonly request: number;
}

const requests: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  container: { ...ContainerIoctl, ...Type1Ioctl, ...IopfIoctl },
  group: GroupIoctl,
  device: { ...DeviceIoctl, ...CdevIoctl, ...Stage1DeviceIoctl },
  iommufd: IommufdIoctl,
  'fault-queue': Stage1Ioctl,
};
const PREFIX = /^(?:VFIO_IOMMU_|VFIO_DEVICE_|VFIO_GROUP_|VFIO_|IOMMU_)/;

/**
 * The requests of a name: in full (`VFIO_IOMMU_MAP_DMA`), without `VFIO_`, or without all that
 * says where (`MAP_DMA`); `GET_INFO` is two. Empty: there is none.
 */
export function requestsOf(name: string): CallRequest[] {
  return Object.entries(requests).flatMap(([file, byName]) =>
    Object.entries(byName)
      .filter(([full]) =>
        [full, full.replace(/^VFIO_/, ''), full.replace(PREFIX, '')].includes(name),
      )
      .map(([, request]) => ({ file, request })),
  );
}

/** The short names, in the order of the headers. */
export function callNames(): string[] {
  const names = Object.values(requests).flatMap((byName) => Object.keys(byName));
  return [...new Set(names.map((name) => name.replace(PREFIX, '')))];
}
