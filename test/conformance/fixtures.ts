/**
 * The PCI functions of the recorded machine. edu and nvme are this project's own; what drives no DMA in the recording is made
 * of its config bytes here.
 */
import { PciConfig, PciInterruptIndex, PciRegionIndex } from '../../src/abi/pci.js';
import { deviceKinds } from '../../src/device/index.js';
import { IommuDevice } from '../../src/iommu/device.js';
import { allocatePlain } from '../../src/mm/frame-memory.js';
import type { SimulatedMemory } from '../../src/mm/simulated-memory.js';
import type { PciFunction, PciRegion } from '../../src/vfio/pci-function.js';
import { hexBytes } from './vectors.js';

interface Fixture {
  readonly kind: string;
  readonly address: string;
  /** The first bytes of config space; the rest is zero. */
  readonly header: string;
  /** Capabilities, by offset. */
  readonly capabilities?: Readonly<Record<number, string>>;
  readonly configSize: number;
  readonly regions: Readonly<Record<number, PciRegion>>;
  readonly interrupts: readonly number[];
  /** What region 0 reads as, by offset; an access of 1 or 2 bytes reads the first bytes of a register. */
  readonly registers?: Readonly<Record<number, number>>;
  readonly resettable: boolean;
}

const NONE: PciRegion = { size: 0, readable: false, writable: false, mappable: false };
const MEMORY_BAR = { readable: true, writable: true, mappable: true };
const IO_BAR = { readable: true, writable: true, mappable: false };

function fixtureFunction(fixture: Fixture): PciFunction {
  const config = new Uint8Array(fixture.configSize);
  config.set(hexBytes(fixture.header));
  for (const [offset, bytes] of Object.entries(fixture.capabilities ?? {}))
    config.set(hexBytes(bytes), Number(offset));
  const regions = Array.from({ length: PciRegionIndex.COUNT }, (_, index) => fixture.regions[index] ?? NONE);
  regions[PciRegionIndex.CONFIG] = { size: config.length, readable: true, writable: true, mappable: false };
  const writable = writableBytes(regions);
  return {
    kind: fixture.kind,
    address: fixture.address,
    iommu: new IommuDevice({ address: fixture.address }),
    regions,
    interruptCounts: fixture.interrupts,
    resettable: fixture.resettable,
    open() {},
    release() {},
    reset() {},
    readRegion(index, offset, into) {
      if (index === PciRegionIndex.CONFIG) into.set(config.subarray(offset, offset + into.length));
      else readRegisters(fixture.registers ?? {}, offset, into);
    },
    writeRegion(index, offset, from) {
      if (index !== PciRegionIndex.CONFIG) return;
      from.forEach((byte, i) => {
        const mask = writable[offset + i] ?? 0;
        config[offset + i] = (config[offset + i]! & ~mask) | (byte & mask);
      });
    },
    interruptsEnabled() {},
    poll: () => false,
  };
}

/** Bits of config space that a program may change: command, cache line, latency, interrupt line, and BARs by their size. */
function writableBytes(regions: readonly PciRegion[]): Uint8Array {
  const mask = new Uint8Array(PciConfig.INTERRUPT_LINE + 1);
  mask.set([0x47, 0x05], PciConfig.COMMAND);
  mask[PciConfig.CACHE_LINE_SIZE] = 0xff;
  mask[PciConfig.INTERRUPT_LINE] = 0xff;
  const view = new DataView(mask.buffer);
  for (let index = 0; index <= PciRegionIndex.BAR5; index++) {
    const { size } = regions[index]!;
    if (size > 0) view.setUint32(PciConfig.BASE_ADDRESS_0 + 4 * index, -size, true);
  }
  return mask;
}

function readRegisters(registers: Readonly<Record<number, number>>, offset: number, into: Uint8Array): void {
  for (let done = 0; done < into.length; done += 4) {
    const at = offset + done;
    // A narrow access inside a register finds its low bytes, as QEMU's e1000e answers.
    let value = registers[at & ~3] ?? 0;
    for (let i = done; i < Math.min(done + 4, into.length); i++, value >>>= 8) into[i] = value & 0xff;
  }
}

const irqs = (intx: number, msi: number, msix: number, err: number): readonly number[] => {
  const counts = new Array(PciInterruptIndex.COUNT).fill(0);
  counts[PciInterruptIndex.INTX] = intx;
  counts[PciInterruptIndex.MSI] = msi;
  counts[PciInterruptIndex.MSIX] = msix;
  counts[PciInterruptIndex.ERR] = err;
  counts[PciInterruptIndex.REQ] = 1;
  return counts;
};

export function pciTestdev(address: string): PciFunction {
  return fixtureFunction({
    kind: 'pci-testdev',
    address,
    header: `361b0500030100000000ff0000000000000056fe01d0${'00'.repeat(22)}f41a0011`,
    configSize: 256,
    regions: { 0: { size: 0x1000, ...MEMORY_BAR }, 1: { size: 0x100, ...IO_BAR } },
    interrupts: irqs(0, 0, 0, 0),
    resettable: false,
  });
}

export function e1000e(address: string): PciFunction {
  return fixtureFunction({
    kind: 'e1000e',
    address,
    // As data recorded from QEMU's vfio-pci shows it: type 0 header with the capability list at 0xc8.
    header: `8680d310030110000000000200000000000024fe000026fe01c00000000028fe${'00'.repeat(12)}86800000000020fec8000000000000000a010000`,
    capabilities: {
      160: '110004000300000003200000',
      200: '01d02200',
      208: '05e08000',
      224: '10a00200',
    },
    configSize: 4096,
    regions: {
      0: { size: 0x20000, ...MEMORY_BAR },
      1: { size: 0x20000, ...MEMORY_BAR },
      2: { size: 0x20, ...IO_BAR },
      3: { size: 0x4000, ...MEMORY_BAR, msixMappable: true },
      6: { size: 0x40000, readable: true, writable: false, mappable: false },
    },
    interrupts: irqs(1, 1, 5, 1),
    registers: { 0: 0x00140241 },
    resettable: true,
  });
}

/** Bytes of region 0 (`registers`) and of config space (`config`) that QEMU's device has otherwise than ours, by offset. */
interface RecordedBytes {
  readonly config?: Readonly<Record<number, string>>;
  readonly registers?: Readonly<Record<number, string>>;
  /** Region 0 refuses reads of 8 bytes below this offset: they find ones. */
  readonly narrowBelow?: number;
}

/** What belongs to the machine: nvme's link and memory page limits, and how QEMU's edu takes a wide read. */
const recordedBytes: Readonly<Record<string, RecordedBytes>> = {
  edu: { narrowBelow: 0x80 },
  nvme: { config: { 164: '00003000' }, registers: { 4: '20184000' } },
};

/** One of the project's own devices, with what is different in the recorded machine. */
export function ownDevice(kind: string, address: string, frames: SimulatedMemory): PciFunction {
  const host = {
    frames,
    allocate: allocatePlain,
    regionMemory: (_index: number, bytes: number) => allocatePlain(bytes),
  };
  const options: Record<string, string> = kind === 'nvme' ? { size: '1M' } : {};
  const own = deviceKinds.get(kind)!.create(options, { address, iommu: new IommuDevice({ address }), host });
  const { config = {}, registers = {}, narrowBelow = 0 } = recordedBytes[kind] ?? {};
  const readOwn = own.readRegion.bind(own);
  own.readRegion = (index, offset, into) => {
    readOwn(index, offset, into);
    if (index === PciRegionIndex.CONFIG) overlay(config, offset, into);
    if (index !== PciRegionIndex.BAR0) return;
    overlay(registers, offset, into);
    if (into.length === 8 && offset < narrowBelow) into.fill(0xff);
  };
  return own;
}

function overlay(bytes: Readonly<Record<number, string>>, offset: number, into: Uint8Array): void {
  for (const [at, hex] of Object.entries(bytes)) {
    hexBytes(hex).forEach((byte, i) => {
      const place = Number(at) + i - offset;
      if (place >= 0 && place < into.length) into[place] = byte;
    });
  }
}
