/**
 * What a VFIO device file drives: a PCI function as vfio-pci sees it. `device/` implements it,
 * `vfio/` calls it.
 *
 * Regions and interrupts have vfio-pci's fixed indexes: regions 0–5 BARs, 6 ROM, 7 config, 8 VGA;
 * interrupts 0 INTx, 1 MSI, 2 MSI-X, 3 ERR, 4 REQ.
 */
import type { MappingListener } from '../ioas/io-space.js';
import type { IommuDevice } from '../iommu/device.js';

/** A part of a region, in bytes from the region's start. */
export interface RegionArea {
  readonly offset: number;
  readonly size: number;
}

/** A part of a region, in whole pages, whose memory somebody else has as a file. */
export interface RegionFile extends RegionArea {
  /** The engine's descriptor, and where in it the part begins, in bytes. */
  readonly fd: number;
  readonly fileOffset: number;
}

export interface PciRegion {
  /** Bytes; 0 where the function has no such region. */
  readonly size: number;
  readonly readable: boolean;
  readonly writable: boolean;
  readonly mappable: boolean;
  /**
   * The parts that may be mapped, where that is not the whole region
   * (VFIO_REGION_INFO_CAP_SPARSE_MMAP).
   */
  readonly sparse?: readonly RegionArea[];
  /**
   * The parts of what may be mapped, in whole pages and ascending, where each access must reach the
   * function, because a page of memory cannot answer it. Absent: a mapping is plain memory.
   */
  readonly trapped?: readonly RegionArea[];
  /** The parts of what may be mapped whose memory is not the function's own file; ascending. */
  readonly files?: readonly RegionFile[];
  /**
   * The BAR holds the MSI-X table and may be mapped over it (VFIO_REGION_INFO_CAP_MSIX_MAPPABLE).
   */
  readonly msixMappable?: boolean;
}

/**
 * Where a function sends its interrupts: vfio's interrupt state, which turns them into eventfd
 * signals.
 */
export interface InterruptSink {
  /** Level of the INTx pin. */
  intx(asserted: boolean): void;
  /** MSI vector, 0-based. */
  msi(vector: number): void;
  /** MSI-X vector, 0-based. */
  msix(vector: number): void;
  /** Tells the user at the eventfd of ERR or REQ, where there is one. Absent: there never is. */
  notify?(index: number): void;
}

/**
 * The memory of a function's container, for its driver: what the function may touch without being
 * able to wait is pinned by this (R6.2, R7.1; kernel: vfio_pin_pages, vfio_unpin_pages,
 * vfio_dma_rw). Calls return 0 or minus an errno, as in the kernel.
 */
export interface DriverMemory {
  /**
   * Pins up to 512 pages for READ or WRITE, counts them in the program's account, maps them where
   * IOPF would leave them to faults, and stores their frames. A page that is pinned already is
   * pinned once more. EINVAL: nothing mapped there, or the function has no `dmaUnmap`; E2BIG,
   * EPERM, EFAULT, ENOMEM (the program's RLIMIT_MEMLOCK), EBUSY, EACCES. Then nothing was pinned.
   */
  pin(iovaPage: number, count: number, permission: number, frames: Float64Array): number;
  /** Undoes one `pin` of each page. */
  unpin(iovaPage: number, count: number): void;
  /** Copies bytes by the CPU, without pins: EINVAL, EPERM, EFAULT, EBUSY. `address` in bytes. */
  read(address: number, into: Uint8Array): number;
  write(address: number, from: Uint8Array): number;
}

export interface PciFunction {
  /** `0000:02:00.0`, as `formatPciAddress` spells it. */
  readonly address: string;
  /** What kind of device it is, as `--device` names it: `nvme`. */
  readonly kind: string;
  readonly iommu: IommuDevice;
  /** Nine regions by index. */
  readonly regions: readonly PciRegion[];
  /** Vectors per interrupt index (five); 0: the function has none of these. */
  readonly interruptCounts: readonly number[];
  /** VFIO_DEVICE_FLAGS_RESET: the function can be reset by itself. */
  readonly resettable: boolean;
  /**
   * The function survives a reset of the bus that it is on (VFIO_DEVICE_PCI_HOT_RESET); absent: it
   * does not (ENOTTY).
   */
  readonly busReset?: boolean;

  /**
   * The first descriptor is opened: the function is reset, and from now on it may do DMA and raise
   * interrupts into `sink`.
   */
  open(sink: InterruptSink, memory?: DriverMemory): void;
  /**
   * UNMAP_DMA is about to take these IOVA pages away: the driver has unpinned what it pinned there
   * when this returns. Absent: the driver cannot pin.
   */
  readonly dmaUnmap?: ((iovaPage: number, pages: number) => void) | undefined;
  /** Hears of the mappings of its I/O address space while it is open. Absent: it need not know. */
  readonly mappings?: MappingListener;
  /**
   * The last descriptor is gone: the function is reset and quiet: it does no DMA and raises nothing
   * any more.
   */
  release(): void;
  /** Function-level reset. */
  reset(): void;
  /**
   * Reads `into.length` bytes of a region; the range lies inside the region. Unaligned and odd
   * lengths are legal. Both come behind what the program has stored in mapped BARs: see `poll`.
   */
  readRegion(index: number, offset: number, into: Uint8Array): void;
  writeRegion(index: number, offset: number, from: Uint8Array): void;
  /**
   * SET_IRQS armed or disarmed an interrupt index: `vectors` signalled from now on (0: off). Shows
   * in config space (MSI-X enable).
   */
  interruptsEnabled(index: number, vectors: number): void;
  /**
   * The program masked INTx, or unmasked it. Absent: the level of the pin is enough for it.
   */
  intxMasked?(masked: boolean): void;
  /**
   * Whether accesses to a BAR get to the function: what else config space would be read for each
   * time (the command register, the power state). Absent: it is read.
   */
  decodes?(bar: number): boolean;
  /**
   * Looks at memory that the program writes without telling (mapped BARs: doorbells), and does what
   * work there is. Returns whether it found any. Called often, and before anything that looks at
   * the function's state, as a read pushes posted writes; a function with nothing mapped returns
   * false at once.
   */
  poll(): boolean;
  /** Nothing is found by looking again: what it does comes by descriptors, or behind a call. */
  readonly isQuiet?: boolean;
}
