/**
 * A whole PCI device: it adds up bytes of the program's memory. A write to GO starts it, SUM holds
 * the result, and an interrupt tells when it is there. Its DMA goes through the IOMMU, which faults
 * in what is not mapped: nothing of that is seen here.
 */
import {
  type DeviceKind,
  DeviceOptions,
  type DmaBuffer,
  type PciDevice,
  PciEndpoint,
} from '../../src/device/index.js';

/** Registers of BAR 0: offsets in bytes, 32 bits each. */
export const ChecksumRegister = {
  ADDRESS: 0,
  ADDRESS_HIGH: 4,
  LENGTH: 8,
  GO: 12,
  SUM: 16,
} as const;
const REFUSED = 0xffffffff;
const { ADDRESS, ADDRESS_HIGH, LENGTH, GO, SUM } = ChecksumRegister;

function createChecksum({ dma, interrupts }: PciEndpoint, buffer: DmaBuffer): PciDevice {
  const registers = new Uint32Array(5);
  const register = (offset: number): number => registers[offset / 4] ?? 0;

  function addUp(): void {
    const bytes = buffer.bytes.subarray(0, register(LENGTH));
    const address = register(ADDRESS_HIGH) * 2 ** 32 + register(ADDRESS);
    const arrived = dma.readRange(address, bytes.length, buffer);
    registers[SUM / 4] = arrived ? bytes.reduce((sum, byte) => sum + byte, 0) : REFUSED;
    if (!interrupts.message(0)) interrupts.pin(true);
  }

  return {
    reset: () => void registers.fill(0),
    read: (_bar, offset) => register(offset),
    write(_bar, offset, _size, value) {
      registers[offset / 4] = value;
      if (offset === GO) addUp();
    },
    poll: () => false,
  };
}

const ids = {
  vendor: 0x1234,
  device: 0xbeef,
  subsystemVendor: 0,
  subsystem: 0,
  revision: 1,
  classCode: 0xff0000,
};
const bars = [{ index: 0, size: 0x1000, address: 0xfe000000, mappable: false }];
const capabilities = [{ kind: 'msi', offset: 0x40, vectors: 1 }] as const;
const description = { ...ids, pin: true, line: 0, bars, capabilities };

export const checksum: DeviceKind = {
  name: 'checksum',
  summary: 'adds up bytes of memory, 65536 at most',
  options: {},
  create(given, context) {
    new DeviceOptions('checksum', {}, given);
    const buffer = context.host.allocate(65536);
    return new PciEndpoint('checksum', description, context, (endpoint) =>
      createChecksum(endpoint, buffer),
    );
  },
};
