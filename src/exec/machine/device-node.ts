import type { VfioFile } from '../../file/file.js';
import type { PciFunction } from '../../vfio/pci-function.js';
import type { Backing } from '../process/backing.js';

/** A character device by which programs reach VFIO, and its number. */
export type DeviceNode = NodeNumbers &
  (
    | /** /dev/iommu */ { readonly kind: 'iommufd' }
    | /** /dev/vfio/vfio */ { readonly kind: 'container' }
    | /** /dev/vfio/GROUP */ {
        readonly kind: 'group';
        readonly group: number;
      } /** /dev/vfio/devices/vfioN, of the function at a PCI address */
    | { readonly kind: 'device'; readonly address: string }
  );

interface NodeNumbers {
  readonly major: number;
  readonly minor: number;
  /** Permission bits that the kernel gives it; its owner is the user of iopf. */
  readonly mode: number;
}

/** What stands behind the nodes of a run. */
export interface DeviceNodes {
  /** Opens a node. Throws VfioError. */
  open(node: DeviceNode): VfioFile;
  /** The function behind a device's file; null: it is no device's. */
  functionOf(file: VfioFile): PciFunction | null;
  /** The memory behind a device's descriptors: its regions at index << 40. */
  backing(pciFunction: PciFunction): Backing;
}

/** VFIO_MINOR among the misc devices (linux/miscdevice.h). */
export const containerNode: DeviceNode = {
  kind: 'container',
  major: 10,
  minor: 196,
  mode: 0o666,
};

/** A misc device with a dynamic minor; this is one that Linux hands out. */
export const iommufdNode: DeviceNode = { kind: 'iommufd', major: 10, minor: 122, mode: 0o660 };

/** Groups have a dynamic major; this is one that Linux hands out. */
const GROUP_MAJOR = 511;

export function groupNode(group: number): DeviceNode {
  return { kind: 'group', group, major: GROUP_MAJOR, minor: group, mode: 0o600 };
}

/** Devices' own files have another one. */
const CDEV_MAJOR = 510;

export function cdevNode(address: string, minor: number): DeviceNode {
  return { kind: 'device', address, major: CDEV_MAJOR, minor, mode: 0o600 };
}

/** A device number as struct stat has it (linux/kdev_t.h, new_encode_dev): 32 bits. */
export function encodeDeviceNumber({ major, minor }: Pick<DeviceNode, 'major' | 'minor'>): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}
