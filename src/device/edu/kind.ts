import type { DeviceKind } from '../kind.js';
import { DeviceOptions, mmapOption } from '../options.js';
import type { PciDescription } from '../pci/description.js';
import { PciEndpoint } from '../pci/endpoint.js';
import { EduDevice } from './edu-device.js';
import { EDU_BAR_BYTES, EDU_DMA_MASK } from './registers.js';

const options = {
  dma_mask: 'addresses of DMA are cut to these bits: 2^n - 1, 0xfffffff unless given',
  faultable:
    'IOVAs on which it can wait for a page, none or START-END[+START-END…] in bytes; it pins the others; all unless given',
  ...mmapOption,
};

function description(sparse: boolean): PciDescription {
  return {
    vendor: 0x1234,
    device: 0x11e8,
    subsystemVendor: 0x1af4,
    subsystem: 0x1100,
    revision: 0x10,
    classCode: 0x00ff00,
    pin: true,
    line: 0x0b,
    bars: [
      {
        index: 0,
        size: EDU_BAR_BYTES,
        address: 0xfe000000,
        mappable: true,
        trapped: [{ offset: 0, size: EDU_BAR_BYTES }],
      },
    ],
    sparse,
    capabilities: [{ kind: 'msi', offset: 0x40, vectors: 1 }],
  };
}

/** QEMU's teaching device, for `--device edu@BDF`. */
export const edu: DeviceKind = {
  name: 'edu',
  summary: "QEMU's teaching device: factorial, interrupts, DMA through a 4 KiB buffer",
  options,
  create(given, context) {
    const parsed = new DeviceOptions('edu', options, given);
    const dmaMask = parsed.number('dma_mask', EDU_DMA_MASK);
    if (dmaMask < 0xfff || dmaMask >= 2 ** 53 || !Number.isInteger(Math.log2(dmaMask + 1))) {
      parsed.refuse('dma_mask', '2^n - 1 from 0xfff to 0x1fffffffffffff');
    }
    const faultable = parsed.pageRanges('faultable');
    context.iommu.faultable = faultable;
    return new PciEndpoint(
      'edu',
      description(parsed.isSparse),
      context,
      (endpoint) => new EduDevice(endpoint, context.host.allocate, dmaMask, faultable),
    );
  },
};
