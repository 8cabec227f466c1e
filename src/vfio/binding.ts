import type { IoSpace } from '../ioas/io-space.js';
import type { PciFunction } from './pci-function.js';

/**
 * How an open file of a device holds it: by a group and its container, or by a descriptor of the
 * device's own that is bound to an iommufd.
 */
export interface DeviceBinding {
  /** Where its DMA goes; null: it is attached to nothing. */
  readonly space: IoSpace | null;
  /** Programs may put first stages above its domain (R8.1). */
  readonly nesting: boolean;
  /**
   * Whether its owner has all of these functions, so that they may be reset together without naming
   * their groups (kernel: vfio_pci_ioctl_pci_hot_reset, count 0).
   */
  ownsAll(functions: readonly PciFunction[]): boolean;
  /** The file is gone. */
  close(): void;
}
