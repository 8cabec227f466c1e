import type { DeviceKind } from '../kind.js';
import { attachmentOf, macOf, networkOptions } from '../network.js';
import { DeviceOptions, mmapOption } from '../options.js';
import type { CapabilityDescription, PciDescription } from '../pci/description.js';
import { PciEndpoint } from '../pci/endpoint.js';
import { Bar, IgbDevice } from './igb-device.js';
import { VECTORS } from './interrupts.js';
import { REGISTER_BYTES } from './registers.js';

const options = {
  ...networkOptions,
  msix: 'on (the default), or off: without the capability, so that drivers use MSI',
  ...mmapOption,
};
const FLASH_BYTES = 0x20000;
const IO_BYTES = 32;
const MSIX_BYTES = 0x4000;
const msix: CapabilityDescription = {
  kind: 'msix',
  offset: 0x70,
  vectors: VECTORS,
  bar: Bar.MSIX,
  table: 0,
  pending: 0x2000,
};

function description(sparse: boolean, hasMsix: boolean): PciDescription {
  return {
    vendor: 0x8086,
    device: 0x10c9,
    subsystemVendor: 0x8086,
    subsystem: 0xa03c,
    revision: 1,
    classCode: 0x020000,
    pin: true,
    line: 0x0b,
    bars: [
      {
        index: Bar.REGISTERS,
        size: REGISTER_BYTES,
        address: 0xfe800000,
        mappable: true,
        trapped: [{ offset: 0, size: REGISTER_BYTES }],
      },
      {
        index: Bar.FLASH,
        size: FLASH_BYTES,
        address: 0xfe820000,
        mappable: true,
        trapped: [{ offset: 0, size: FLASH_BYTES }],
      },
      { index: Bar.IO, size: IO_BYTES, io: true, address: 0xc000, mappable: false },
      {
        index: Bar.MSIX,
        size: MSIX_BYTES,
        address: 0xfe840000,
        wide: true,
        mappable: true,
      },
    ],
    sparse,
    capabilities: [
      { kind: 'power', offset: 0x40 },
      { kind: 'msi', offset: 0x50, vectors: 1, maskable: true },
      ...(hasMsix ? [msix] : []),
      { kind: 'express', offset: 0xa0 },
    ],
  };
}

/** Intel's 82576, for `--device igb@BDF`. */
export const igb: DeviceKind = {
  name: 'igb',
  summary:
    "Intel 82576 network card, looped back or joined to a Linux tap or the run's other cards",
  options,
  create(given, context) {
    const parsed = new DeviceOptions('igb', options, given);
    const mac = macOf(parsed, context.address);
    const attachment = attachmentOf(parsed, context);
    const hasMsix = parsed.choice('msix', ['on', 'off'], 'on') === 'on';
    return new PciEndpoint(
      'igb',
      description(parsed.isSparse, hasMsix),
      context,
      (endpoint) => new IgbDevice(endpoint, context.host, mac, attachment),
    );
  },
};
