/**
 * What the author of a device writes: its registers and its engines. The endpoint around it does
 * config space, regions, interrupts and reset.
 */
export interface PciDevice {
  /** Everything as after power-on; memory of its BARs has been zeroed. */
  reset(): void;
  /**
   * Reads a BAR's register: `size` is 1, 2 or 4 bytes and `offset` a multiple of it. Returns an
   * unsigned number; bits beyond `size` are cut. `poll` has looked at what was stored before.
   */
  read(bar: number, offset: number, size: number): number;
  /** Writes a BAR's register; the same of `offset` and `size`. */
  write(bar: number, offset: number, size: number, value: number): void;
  /**
   * UNMAP_DMA is about to take IOVA pages away: what the device has pinned there
   * (PciEndpoint.memory) is unpinned on return. Absent: it pins nothing.
   */
  dmaUnmap?(iovaPage: number, pages: number): void;
  /**
   * It can leave a transfer where a page is missing that a program must bring, and go on when
   * `poll` finds it there (R8.1; DmaPort.stalled). Absent: it cannot, and no fault queue can be
   * attached to it.
   */
  readonly stalls?: boolean;
  /**
   * Looks at memory that the program writes without telling and does what work there is; true:
   * there was some. Called often, and before every access by a call: a read pushes posted writes
   * (PCI Express 2.4.1).
   */
  poll(): boolean;
  /**
   * Whether the registers there take an access of 8 bytes as one; where they do not, a read finds
   * ones and a write is lost. Absent: such accesses come as two of 4 bytes.
   */
  takesWide?(bar: number, offset: number): boolean;
  /**
   * Config space at [offset, offset + length) is about to be read: a device with windows there
   * fills them now.
   */
  configRead?(offset: number, length: number): void;
  /** Config space was written there. */
  configWritten?(offset: number, length: number): void;
}
