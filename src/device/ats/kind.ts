import type { DeviceKind } from '../kind.js';
import { DeviceOptions } from '../options.js';
import type { PciDescription } from '../pci/description.js';
import { PciEndpoint } from '../pci/endpoint.js';
import { AtsDevice } from './ats-device.js';

const BAR_BYTES = 0x1000;

const description: PciDescription = {
  vendor: 0x1234,
  device: 0x11e9,
  subsystemVendor: 0x1af4,
  subsystem: 0x1100,
  revision: 2,
  classCode: 0x00ff00,
  pin: false,
  line: 0,
  bars: [
    {
      index: 0,
      size: BAR_BYTES,
      address: 0xfe400000,
      wide: true,
      mappable: true,
      trapped: [{ offset: 0, size: BAR_BYTES }],
    },
  ],
  capabilities: [
    { kind: 'express', offset: 0x40 },
    { kind: 'ats', offset: 0x100 },
    { kind: 'pri', offset: 0x108 },
  ],
};

/** The device of libvfn's tests of page requests, for `--device ats@BDF`. */
export const ats: DeviceKind = {
  name: 'ats',
  summary: 'a device that moves one page, with ATS and PRI: it asks for what is missing',
  options: {},
  create(given, context) {
    new DeviceOptions('ats', ats.options, given);
    return new PciEndpoint(
      'ats',
      description,
      context,
      (endpoint) => new AtsDevice(endpoint, context.host.allocate),
    );
  },
};
