/** Bits of the 82576's registers (datasheet, chapter 8), by register. */

export const Ctrl = {
  MASTER_DISABLE: 0x00000004,
  SPEED_SHIFT: 8,
  FORCE_SPEED: 0x00000800,
  RESET: 0x04000000,
  VLAN_MODE: 0x40000000,
} as const;

export const Status = {
  LINK_UP: 0x00000002,
  SPEED_SHIFT: 6,
  SPEED_MASK: 0x000000c0,
  SPEED_1000: 0x00000080,
  PHY_RESET_ASSERTED: 0x00000400,
  MASTER_ENABLED: 0x00080000,
} as const;

export const Rctl = {
  ENABLE: 0x00000002,
  UNICAST_PROMISCUOUS: 0x00000008,
  MULTICAST_PROMISCUOUS: 0x00000010,
  LONG_PACKETS: 0x00000020,
  LOOPBACK_MASK: 0x000000c0,
  LOOPBACK_MAC: 0x00000040,
  MULTICAST_OFFSET_SHIFT: 12,
  BROADCAST: 0x00008000,
  BUFFER_SIZE_SHIFT: 16,
  VLAN_FILTER: 0x00040000,
  STRIP_CRC: 0x04000000,
} as const;

export const Tctl = { ENABLE: 0x00000002 } as const;

/** RXDCTL and TXDCTL. */
export const QUEUE_ENABLE = 0x02000000;

/** Causes: ICR, ICS, IMS, IMC. */
export const Cause = {
  TXDW: 0x00000001,
  LSC: 0x00000004,
  RXDMT: 0x00000010,
  RXO: 0x00000040,
  RXDW: 0x00000080,
  ASSERTED: 0x80000000,
  ALL: 0x77d4fbfd,
} as const;

export const Gpie = { NSICR: 0x00000001, MULTIPLE: 0x00000010, EIAME: 0x40000000 } as const;

/** EITR: at least so many microseconds from one interrupt to the next; what is left of them. */
export const Eitr = {
  INTERVAL_SHIFT: 2,
  INTERVAL_MASK: 0x1fff,
  /** The ten highest bits of the counter's twelve. */
  COUNTER_SHIFT: 21,
  COUNTER_MASK: 0x3ff,
  KEEP_COUNTER: 0x80000000,
} as const;

/** IVAR: a byte of it is valid, and its vector. */
export const Ivar = { VALID: 0x80, VECTOR: 0x1f } as const;

export const Srrctl = {
  BUFFER_SHIFT: 10,
  BUFFER_MASK: 0x7f,
  HEADER_MASK: 0x0f00,
  THRESHOLD_SHIFT: 20,
  THRESHOLD_MASK: 0x1f,
  TYPE_SHIFT: 25,
  TYPE_MASK: 7,
} as const;

/** SRRCTL.DESCTYPE. */
export const DescriptorType = {
  LEGACY: 0,
  ONE_BUFFER: 1,
  HEADER_SPLIT: 2,
  SPLIT_ALWAYS: 5,
} as const;

export const Rxcsum = { IP: 0x0100, L4: 0x0200, NO_IP_CHECKSUM: 0x2000 } as const;

/** RAH. */
export const ADDRESS_VALID = 0x80000000;

/** MRQC. */
export const Mrqc = {
  MODE: 7,
  RSS: 2,
  TCP_IPV4: 0x00010000,
  IPV4: 0x00020000,
  TCP_IPV6_EX: 0x00040000,
  IPV6_EX: 0x00080000,
  IPV6: 0x00100000,
  TCP_IPV6: 0x00200000,
  UDP_IPV4: 0x00400000,
  UDP_IPV6: 0x00800000,
} as const;

/** The last 32 bits of a receive descriptor's status (7.1.5.2). */
export const RxStatus = {
  DONE: 0x0001,
  END: 0x0002,
  VLAN: 0x0008,
  UDP_CHECKED: 0x0010,
  L4_CHECKED: 0x0020,
  IP_CHECKED: 0x0040,
  IP_ID: 0x0200,
  L4_ERROR: 0x20000000,
  IP_ERROR: 0x40000000,
} as const;

/** A receive descriptor's first word: what kind of packet it is (7.1.5.2). */
export const PacketType = { IPV4: 0x10, IPV6: 0x40, TCP: 0x100, UDP: 0x200, SCTP: 0x400 } as const;
export const SPLIT_HEADER = 0x80000000;
export const HEADER_LENGTH_SHIFT = 21;

/** A transmit descriptor's command (7.2.2). */
export const TxCommand = {
  END: 0x01000000,
  INSERT_CHECKSUM: 0x04000000,
  REPORT: 0x08000000,
  EXTENDED: 0x20000000,
  VLAN: 0x40000000,
  SEGMENT: 0x80000000,
  TYPE_MASK: 0x00f00000,
  CONTEXT: 0x00200000,
  DATA: 0x00300000,
} as const;
/** Options in the last word of a data descriptor. */
export const TxOptions = { IP_CHECKSUM: 0x100, L4_CHECKSUM: 0x200, CONTEXT_SHIFT: 4 } as const;
/** A context descriptor's third word. */
export const ContextType = {
  IPV4: 0x400,
  L4_MASK: 0x1800,
  UDP: 0,
  TCP: 0x800,
  SCTP: 0x1000,
} as const;
export const DESCRIPTOR_DONE = 1;
