import type { BarDescription, CapabilityDescription, PciDescription } from '../pci/description.js';
import {
  CapabilityType,
  CommonRegister,
  LEGACY_BAR,
  LEGACY_BAR_BYTES,
  type LegacyMode,
  MSIX_BAR,
  MsixBar,
  VIRTIO_BAR,
  VirtioBar,
} from './registers.js';

/** Offsets of the capabilities in config space. */
const Capability = {
  MSIX: 0x40,
  POWER: 0x4c,
  COMMON: 0x54,
  ISR: 0x64,
  DEVICE: 0x74,
  NOTIFY: 0x84,
  PCI_CONFIG: 0x98,
  EXPRESS: 0xac,
} as const;

/** The access window in config space (4.1.4.9): bytes of config space. */
export const PciWindow = {
  BAR: Capability.PCI_CONFIG + 4,
  OFFSET: Capability.PCI_CONFIG + 8,
  LENGTH: Capability.PCI_CONFIG + 12,
  DATA: Capability.PCI_CONFIG + 16,
} as const;

/** struct virtio_pci_cap from its length on, and what follows it. */
function body(
  type: number,
  bar: number,
  offset: number,
  bytes: number,
  more: readonly number[] = [],
): Uint8Array {
  const made = new Uint8Array(14 + 4 * more.length);
  const view = new DataView(made.buffer);
  made.set([made.length + 2, type, bar]);
  [offset, bytes, ...more].forEach((value, index) => {
    view.setUint32(6 + 4 * index, value, true);
  });
  return made;
}

/** Ones over the window's bar, offset, length and data. */
const windowWritable = Uint8Array.from({ length: 18 }, (_, index) =>
  index === 2 || index >= 6 ? 0xff : 0,
);

const legacyBar: BarDescription = {
  index: LEGACY_BAR,
  size: LEGACY_BAR_BYTES,
  address: 0xc000,
  io: true,
  mappable: false,
};
const modernBar: BarDescription = {
  index: VIRTIO_BAR,
  size: VirtioBar.SIZE,
  address: 0xfe404000,
  wide: true,
  mappable: true,
  trapped: [{ offset: 0, size: VirtioBar.NOTIFY }],
};

export interface VirtioIdentity {
  /** Virtio's number of the kind of device (5): 1 is a network card. */
  readonly device: number;
  readonly classCode: number;
  /** Bytes of device configuration. */
  readonly configBytes: number;
  readonly queues: number;
  readonly legacy: LegacyMode;
}

/** Transitional devices have ids of their own (4.1.2.3), which of network cards is the first. */
const TRANSITIONAL_ID = 0x1000 - 1;

/**
 * A function (4.1.2), modern, transitional or legacy: one MSI-X vector for each queue and one for
 * changes of configuration.
 */
export function virtioDescription({
  device,
  classCode,
  configBytes,
  queues,
  legacy,
}: VirtioIdentity): PciDescription {
  const inBar = (
    type: number,
    offset: number,
    bytes: number,
    more: readonly number[] = [],
  ): Uint8Array => body(type, VIRTIO_BAR, offset, bytes, more);
  const { NOTIFY, NOTIFY_BYTES, NOTIFY_MULTIPLIER } = VirtioBar;
  const capabilities: CapabilityDescription[] = [
    {
      kind: 'msix',
      offset: Capability.MSIX,
      vectors: queues + 1,
      bar: MSIX_BAR,
      table: MsixBar.TABLE,
      pending: MsixBar.PENDING,
    },
    { kind: 'power', offset: Capability.POWER },
    {
      kind: 'vendor',
      offset: Capability.COMMON,
      body: inBar(CapabilityType.COMMON, VirtioBar.COMMON, CommonRegister.SIZE),
    },
    { kind: 'vendor', offset: Capability.ISR, body: inBar(CapabilityType.ISR, VirtioBar.ISR, 1) },
    {
      kind: 'vendor',
      offset: Capability.DEVICE,
      body: inBar(CapabilityType.DEVICE, VirtioBar.DEVICE, configBytes),
    },
    {
      kind: 'vendor',
      offset: Capability.NOTIFY,
      body: inBar(CapabilityType.NOTIFY, NOTIFY, NOTIFY_BYTES, [NOTIFY_MULTIPLIER]),
    },
    {
      kind: 'vendor',
      offset: Capability.PCI_CONFIG,
      body: body(CapabilityType.PCI_CONFIG, 0, 0, 0, [0]),
      writable: windowWritable,
    },
    { kind: 'express', offset: Capability.EXPRESS },
  ];
  const isModern = legacy !== 'only';
  const hasLegacy = legacy !== 'off';
  return {
    vendor: 0x1af4,
    device: (hasLegacy ? TRANSITIONAL_ID : 0x1040) + device,
    subsystemVendor: 0x1af4,
    subsystem: hasLegacy ? device : 0x1100,
    revision: hasLegacy ? 0 : 1,
    classCode,
    pin: true,
    line: 0x0b,
    bars: [
      ...(hasLegacy ? [legacyBar] : []),
      { index: MSIX_BAR, size: MsixBar.SIZE, address: 0xfe400000, mappable: true },
      ...(isModern ? [modernBar] : []),
    ],
    capabilities: isModern ? capabilities : capabilities.filter(({ kind }) => kind !== 'vendor'),
  };
}
