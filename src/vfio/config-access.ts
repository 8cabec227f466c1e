/** Reads of a function's config space by vfio itself. */
import { PciRegionIndex } from '../abi/pci.js';
import type { PciFunction } from './pci-function.js';

const word = new Uint8Array(4);
const half = word.subarray(0, 2);

export function readConfig16(pciFunction: PciFunction, offset: number): number {
  pciFunction.readRegion(PciRegionIndex.CONFIG, offset, half);
  return half[0]! | (half[1]! << 8);
}

export function readConfig32(pciFunction: PciFunction, offset: number): number {
  pciFunction.readRegion(PciRegionIndex.CONFIG, offset, word);
  return (word[0]! | (word[1]! << 8) | (word[2]! << 16) | (word[3]! << 24)) >>> 0;
}
