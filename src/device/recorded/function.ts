/**
 * A function that only looks like a device: config space and registers as they were recorded, and
 * no behaviour. For programs that enumerate and set up devices that have no model.
 */
import { PciBar, PciConfig, PciRegionIndex } from '../../abi/pci.js';
import type { IommuDevice } from '../../iommu/device.js';
import type { PciFunction, PciRegion } from '../../vfio/pci-function.js';
import { sparseRegion } from '../pci/sparse-region.js';
import { type RecordedRegister, RecordedRegisters } from './registers.js';

export interface RecordedModel {
  /** Config space, 256 or 4096 bytes. */
  readonly config: Uint8Array;
  /** Nine regions by index; the size of region 7 is that of `config`. */
  readonly regions: readonly PciRegion[];
  /** Vectors per interrupt index (five). */
  readonly interrupts: readonly number[];
  /** 32-bit registers of region 0 by offset; zero elsewhere. */
  readonly registers: ReadonlyMap<number, RecordedRegister>;
  /** What the ROM, region 6, begins with; the rest of it is zero. */
  readonly rom: Uint8Array;
  /**
   * What a read of 1 or 2 bytes in the middle of a register finds: those bytes, or the register's
   * lowest.
   */
  readonly narrowReads: 'bytes' | 'low';
  readonly resettable: boolean;
}

export function recordedFunction(
  model: RecordedModel,
  address: string,
  iommu: IommuDevice,
  traps = true,
): PciFunction {
  const config = model.config.slice();
  const writable = writableBits(model.regions);
  const registers = new RecordedRegisters(model.registers, model.narrowReads === 'low');
  const begin = (): void => {
    config.set(model.config);
    registers.reset();
  };
  return {
    kind: 'recorded',
    address,
    iommu,
    regions: model.regions.map((region) =>
      traps ? trappedRegion(region) : sparseRegion(trappedRegion(region)),
    ),
    interruptCounts: model.interrupts,
    resettable: model.resettable,
    open: begin,
    release: begin,
    reset: begin,
    readRegion(index, offset, into) {
      if (index === PciRegionIndex.CONFIG) into.set(config.subarray(offset, offset + into.length));
      else if (index === PciRegionIndex.BAR0) registers.read(offset, into);
      else into.fill(0);
      if (index === PciRegionIndex.ROM) into.set(model.rom.subarray(offset, offset + into.length));
    },
    writeRegion(index, offset, from) {
      if (index === PciRegionIndex.BAR0) registers.write(offset, from);
      if (index !== PciRegionIndex.CONFIG) return;
      for (let byte = 0; byte < from.length; byte++) {
        const mask = writable[offset + byte] ?? 0;
        config[offset + byte] = (config[offset + byte]! & ~mask) | (from[byte]! & mask);
      }
    },
    interruptsEnabled() {},
    poll: () => false,
  };
}

/** Nothing of a recorded device is memory. */
function trappedRegion(region: PciRegion): PciRegion {
  if (!region.mappable) return region;
  return { ...region, trapped: [{ offset: 0, size: region.size }] };
}

/**
 * Bits of config space that a program may change: command, cache line size, interrupt line, BARs
 * and ROM by their size.
 */
function writableBits(regions: readonly PciRegion[]): Uint8Array {
  const mask = new Uint8Array(PciConfig.INTERRUPT_LINE + 1);
  mask.set([0x47, 0x05], PciConfig.COMMAND);
  mask[PciConfig.CACHE_LINE_SIZE] = 0xff;
  mask[PciConfig.INTERRUPT_LINE] = 0xff;
  const view = new DataView(mask.buffer);
  for (let index = 0; index <= PciRegionIndex.BAR5; index++) {
    const { size } = regions[index]!;
    if (size > 0) view.setUint32(PciConfig.BASE_ADDRESS_0 + 4 * index, -size, true);
  }
  const rom = regions[PciRegionIndex.ROM]!.size;
  if (rom > 0) view.setUint32(PciConfig.ROM_ADDRESS, -rom | PciBar.ROM_ENABLE, true);
  return mask;
}
