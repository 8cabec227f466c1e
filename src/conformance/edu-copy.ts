/**
 * What the recording's driver told an edu device: DMA from one IOVA into its buffer and from there
 * to another.
 */
import { PciCommand, PciConfig, PciRegionIndex } from '../abi/pci.js';
import { EDU_BUFFER, EduDma, EduRegister } from '../device/edu/registers.js';
import type { PciFunction } from '../vfio/pci-function.js';

/** Copies `size` bytes with bus mastering on. */
export function eduCopy(edu: PciFunction, source: number, destination: number, size: number): void {
  edu.writeRegion(
    PciRegionIndex.CONFIG,
    PciConfig.COMMAND,
    Uint8Array.of(PciCommand.MEMORY | PciCommand.MASTER),
  );
  transfer(edu, source, EDU_BUFFER, size, EduDma.START);
  transfer(edu, EDU_BUFFER, destination, size, EduDma.START | EduDma.TO_MEMORY);
}

function transfer(edu: PciFunction, from: number, to: number, size: number, command: number): void {
  writeRegister(edu, EduRegister.DMA_SOURCE, from);
  writeRegister(edu, EduRegister.DMA_DESTINATION, to);
  writeRegister(edu, EduRegister.DMA_COUNT, size);
  writeRegister(edu, EduRegister.DMA_COMMAND, command);
}

function writeRegister(edu: PciFunction, offset: number, value: number): void {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  edu.writeRegion(PciRegionIndex.BAR0, offset, bytes);
}
