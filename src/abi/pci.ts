/**
 * PCI configuration space (linux/pci_regs.h, PCI Express Base Specification 6.0, chapter 7).
 *
 * Offsets are bytes from the start of config space; offsets of a capability's registers are bytes
 * from its header.
 */

/**
 * Bytes of config space of a conventional function, and of one with PCI Express's extended space.
 */
export const PCI_CONFIG_SIZE = 256;
export const PCIE_CONFIG_SIZE = 4096;

/** Registers of the type 0 header. */
export const PciConfig = {
  VENDOR_ID: 0x00,
  DEVICE_ID: 0x02,
  COMMAND: 0x04,
  STATUS: 0x06,
  REVISION_ID: 0x08,
  CLASS_PROG: 0x09,
  CLASS_DEVICE: 0x0a,
  CACHE_LINE_SIZE: 0x0c,
  LATENCY_TIMER: 0x0d,
  HEADER_TYPE: 0x0e,
  BIST: 0x0f,
  BASE_ADDRESS_0: 0x10,
  BASE_ADDRESS_5: 0x24,
  CARDBUS_CIS: 0x28,
  SUBSYSTEM_VENDOR_ID: 0x2c,
  SUBSYSTEM_ID: 0x2e,
  ROM_ADDRESS: 0x30,
  CAPABILITY_LIST: 0x34,
  INTERRUPT_LINE: 0x3c,
  INTERRUPT_PIN: 0x3d,
  MIN_GNT: 0x3e,
  MAX_LAT: 0x3f,
} as const;

/** Bits of the command register. */
export const PciCommand = {
  IO: 0x001,
  MEMORY: 0x002,
  MASTER: 0x004,
  SPECIAL: 0x008,
  INVALIDATE: 0x010,
  VGA_PALETTE: 0x020,
  PARITY: 0x040,
  SERR: 0x100,
  FAST_BACK: 0x200,
  INTX_DISABLE: 0x400,
} as const;

/** Bits of the status register. */
export const PciStatus = {
  INTERRUPT: 0x0008,
  CAP_LIST: 0x0010,
  DETECTED_TARGET_ABORT: 0x1000,
  RECEIVED_MASTER_ABORT: 0x2000,
  SIGNALED_SYSTEM_ERROR: 0x4000,
  DETECTED_PARITY: 0x8000,
} as const;

/** Bits of a base address register, and of the expansion ROM's. */
export const PciBar = {
  SPACE_IO: 0x01,
  MEMORY_TYPE_64: 0x04,
  MEMORY_PREFETCH: 0x08,
  MEMORY_FLAGS: 0x0f,
  IO_FLAGS: 0x03,
  ROM_ENABLE: 0x01,
  ROM_MASK: 0xfffff800,
} as const;

/** Capability ids (`PCI_CAP_ID_*`). */
export const PciCapability = {
  PM: 0x01,
  VPD: 0x03,
  MSI: 0x05,
  VENDOR: 0x09,
  EXPRESS: 0x10,
  MSIX: 0x11,
  AF: 0x13,
} as const;

/** Registers of any capability. */
export const PCI_CAP_ID = 0;
export const PCI_CAP_NEXT = 1;

/** Power management: control register and its power state field (0: D0, 3: D3hot). */
export const PciPm = {
  PMC: 2,
  CTRL: 4,
  SIZE: 8,
  STATE_MASK: 0x0003,
  D3_HOT: 3,
  NO_SOFT_RESET: 0x0008,
} as const;

/** MSI: message control and what follows it. */
export const PciMsi = {
  FLAGS: 2,
  ADDRESS_LO: 4,
  ADDRESS_HI: 8,
  DATA_32: 8,
  MASK_32: 12,
  DATA_64: 12,
  MASK_64: 16,
  PENDING_64: 20,
  ENABLE: 0x0001,
  /** Field: log2 of vectors that the function can raise. */
  QUEUE_CAPABLE: 0x000e,
  /** Field: log2 of vectors that are on. */
  QUEUE_SIZE: 0x0070,
  ADDRESS_64: 0x0080,
  MASKABLE: 0x0100,
} as const;

/** MSI-X: message control, where the table and the pending bits lie, and a table entry. */
export const PciMsix = {
  FLAGS: 2,
  TABLE: 4,
  PBA: 8,
  SIZE: 12,
  ENABLE: 0x8000,
  MASK_ALL: 0x4000,
  /** Field: vectors minus one. */
  TABLE_SIZE: 0x07ff,
  /** Field of TABLE and PBA: the BAR's index. */
  BAR_INDEX: 0x7,
  ENTRY_SIZE: 16,
  ENTRY_ADDRESS_LO: 0,
  ENTRY_ADDRESS_HI: 4,
  ENTRY_DATA: 8,
  ENTRY_CONTROL: 12,
  ENTRY_MASKED: 1,
} as const;

/** PCI Express capability. */
export const PciExpress = {
  FLAGS: 2,
  DEVICE_CAPABILITIES: 4,
  DEVICE_CONTROL: 8,
  DEVICE_STATUS: 10,
  LINK_CAPABILITIES: 12,
  LINK_CONTROL: 16,
  LINK_STATUS: 18,
  DEVICE_CAPABILITIES_2: 36,
  DEVICE_CONTROL_2: 40,
  /** Bytes of a version 2 capability. */
  SIZE: 60,
  /** Field of FLAGS: port type, 0 for an endpoint, 9 for a root complex integrated endpoint. */
  TYPE: 0x00f0,
  /** Of DEVICE_CAPABILITIES: function-level reset. */
  FUNCTION_LEVEL_RESET: 0x10000000,
  /** Of DEVICE_CONTROL: resets the function. */
  INITIATE_FUNCTION_LEVEL_RESET: 0x8000,
} as const;

/** Extended capabilities (`PCI_EXT_CAP_ID_*`): where they begin, and what their header says. */
export const PciExtended = { START: 0x100, ATS: 0x0f, PRI: 0x13, VERSION_1: 0x10000 } as const;

/** Address translation services (PCIe 10.5.1). */
export const PciAts = { CAPABILITY: 4, CONTROL: 6, PAGE_ALIGNED: 0x20, ENABLE: 0x8000 } as const;

/** Page request interface (PCIe 10.5.2). */
export const PciPri = { CONTROL: 4, STATUS: 6, MOST: 8, ALLOCATED: 12, ENABLE: 1 } as const;

/** Indexes of a vfio-pci device's regions (`VFIO_PCI_*_REGION_INDEX`). */
export const PciRegionIndex = {
  BAR0: 0,
  BAR5: 5,
  ROM: 6,
  CONFIG: 7,
  VGA: 8,
  COUNT: 9,
} as const;

/** Indexes of a vfio-pci device's interrupts (`VFIO_PCI_*_IRQ_INDEX`). */
export const PciInterruptIndex = {
  INTX: 0,
  MSI: 1,
  MSIX: 2,
  ERR: 3,
  REQ: 4,
  COUNT: 5,
} as const;
