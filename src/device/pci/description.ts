import type { RegionArea } from '../../vfio/pci-function.js';

/** A base address register. */
export interface BarDescription {
  readonly index: number;
  /** Bytes; a power of two, at least 4096; of I/O space, from 4 to 256. */
  readonly size: number;
  /** I/O space; it cannot be mapped. Absent: memory space. */
  readonly io?: boolean;
  /** Where firmware put it: multiple of its size, below 2^32. */
  readonly address: number;
  /** Takes two registers; then `index + 1` is not used. */
  readonly wide?: boolean;
  /** The program may map it; else every access is a call to the device. */
  readonly mappable: boolean;
  /**
   * The parts, in whole pages and ascending, whose accesses must reach the device: a program that
   * maps them has each load and store answered. The others are plain memory (`barMemory`).
   */
  readonly trapped?: readonly RegionArea[];
  /**
   * Those parts are in `barMemory` all the same, and `poll` finds what a program has stored there:
   * where nothing traps, they can be mapped as plain memory.
   */
  readonly polled?: boolean;
}

/**
 * A capability at a fixed offset of config space (bytes). The list is chained in the order given.
 */
export type CapabilityDescription =
  | { readonly kind: 'power'; readonly offset: number }
  | {
      readonly kind: 'msi';
      readonly offset: number;
      readonly vectors: number;
      /** Each vector can be masked, and is pending then. */
      readonly maskable?: boolean;
    }
  | {
      readonly kind: 'msix';
      readonly offset: number;
      /** 1 to 2048. */
      readonly vectors: number;
      readonly bar: number;
      /** Bytes from the BAR's start. */
      readonly table: number;
      readonly pending: number;
    }
  | {
      readonly kind: 'vendor';
      readonly offset: number;
      /** The capability from its third byte on: its length, and what the vendor says. */
      readonly body: Uint8Array;
      /** Ones where the program may write, as long as `body`; absent: nowhere. */
      readonly writable?: Uint8Array;
    }
  /** PCI Express endpoint with function-level reset; config space has 4096 bytes. */
  | { readonly kind: 'express'; readonly offset: number }
  /**
   * Address translation services and page requests, in the extended space: as the IOMMU's driver
   * leaves them, switched on.
   */
  | { readonly kind: 'ats'; readonly offset: number }
  | { readonly kind: 'pri'; readonly offset: number };

/** What a function is, before it does anything. */
export interface PciDescription {
  readonly vendor: number;
  readonly device: number;
  readonly subsystemVendor: number;
  readonly subsystem: number;
  readonly revision: number;
  /** 24 bits: class, subclass, programming interface. */
  readonly classCode: number;
  /** It has an interrupt pin (INTA). */
  readonly pin: boolean;
  /** What firmware left in the interrupt line register. */
  readonly line: number;
  readonly bars: readonly BarDescription[];
  /** Only what is plain memory may be mapped, and programs are told so (`mmap=sparse`). */
  readonly sparse?: boolean;
  readonly capabilities: readonly CapabilityDescription[];
}
