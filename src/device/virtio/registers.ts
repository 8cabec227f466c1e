/**
 * Virtio over PCI: registers, bits and where they lie in this device's BARs (OASIS Virtual I/O
 * Device 1.2; section numbers below).
 */

/** Device status (2.1). */
export const DeviceStatus = {
  ACKNOWLEDGE: 0x01,
  DRIVER: 0x02,
  DRIVER_OK: 0x04,
  FEATURES_OK: 0x08,
  NEEDS_RESET: 0x40,
  FAILED: 0x80,
} as const;

/** Feature bits that belong to no kind of device (6), by number. */
export const Feature = {
  ANY_LAYOUT: 27,
  INDIRECT_DESC: 28,
  EVENT_IDX: 29,
  VERSION_1: 32,
  ACCESS_PLATFORM: 33,
  RING_RESET: 40,
} as const;

/** Common configuration (4.1.4.3), bytes from its start. */
export const CommonRegister = {
  DEVICE_FEATURE_SELECT: 0,
  DEVICE_FEATURE: 4,
  DRIVER_FEATURE_SELECT: 8,
  DRIVER_FEATURE: 12,
  CONFIG_MSIX_VECTOR: 16,
  NUM_QUEUES: 18,
  DEVICE_STATUS: 20,
  CONFIG_GENERATION: 21,
  QUEUE_SELECT: 22,
  QUEUE_SIZE: 24,
  QUEUE_MSIX_VECTOR: 26,
  QUEUE_ENABLE: 28,
  QUEUE_NOTIFY_OFF: 30,
  /** Descriptor table, available ring, used ring: 64 bits each. */
  QUEUE_DESC: 32,
  QUEUE_NOTIFY_DATA: 56,
  QUEUE_RESET: 58,
  SIZE: 60,
} as const;

/** The legacy interface's registers (4.1.4.8), bytes of its I/O BAR. */
export const LegacyRegister = {
  DEVICE_FEATURES: 0,
  DRIVER_FEATURES: 4,
  QUEUE_ADDRESS: 8,
  QUEUE_SIZE: 12,
  QUEUE_SELECT: 14,
  QUEUE_NOTIFY: 16,
  DEVICE_STATUS: 18,
  ISR: 19,
  /** The device's configuration; behind the vectors while MSI-X is on. */
  CONFIG: 20,
  CONFIG_VECTOR: 20,
  QUEUE_VECTOR: 22,
  CONFIG_MSIX: 24,
} as const;
export const LEGACY_BAR = 0;
/** off: virtio 1.2 only. on: transitional, with both interfaces. only: the legacy one alone. */
export type LegacyMode = 'off' | 'on' | 'only';
export const LEGACY_BAR_BYTES = 0x40;

/** No MSI-X vector (4.1.4.3). */
export const NO_VECTOR = 0xffff;

/** ISR status (4.1.4.5): cleared by a read. */
export const IsrStatus = { QUEUE: 0x1, CONFIG: 0x2 } as const;

/** Kinds of virtio's vendor-specific capabilities (4.1.4). */
export const CapabilityType = { COMMON: 1, NOTIFY: 2, ISR: 3, DEVICE: 4, PCI_CONFIG: 5 } as const;

/**
 * The BAR with everything but the MSI-X table, where each structure has a page of its own. Only
 * notifications may be mapped.
 */
export const VIRTIO_BAR = 4;
export const VirtioBar = {
  COMMON: 0x0000,
  ISR: 0x1000,
  DEVICE: 0x2000,
  NOTIFY: 0x3000,
  NOTIFY_BYTES: 0x1000,
  /** Bytes between the notification registers of two queues. */
  NOTIFY_MULTIPLIER: 4,
  SIZE: 0x4000,
} as const;

export const MSIX_BAR = 1;
export const MsixBar = { TABLE: 0, PENDING: 0x800, SIZE: 0x1000 } as const;
