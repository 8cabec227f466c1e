import type { Caller } from '../file/caller.js';
import type { IoSpace } from '../ioas/io-space.js';
import type { PciFunction } from './pci-function.js';

/**
 * How an open file of a device holds it: by a group and its container, or by a descriptor of the
 * device's own that is bound to an iommufd.
 */
export interface DeviceBinding {
  /** Where its DMA goes; null: it is attached to nothing. */
  readonly space: IoSpace | null;
  /** The device is open: until then every call but those of `control` is EINVAL. */
  readonly isGranted: boolean;
  /** Programs may put first stages above its domain (R8.1). */
  readonly nesting: boolean;
  /**
   * What its iommufd knows a function by: an id, VFIO_PCI_DEVID_OWNED or _NOT_OWNED. Absent:
   * functions are known by their groups. Where it is there, functions are reset together without
   * naming groups (kernel: vfio_pci_ioctl_pci_hot_reset, count 0).
   */
  idOf?(pciFunction: PciFunction): number;
  /** Calls of this way to hold a device alone. False: it is none of them. Throws VfioError. */
  control?(caller: Caller, request: number, argument: number): boolean;
  /** The file is gone. */
  close(): void;
}
