/** Reads of a function's config space by vfio itself. */
import {
  PCI_CAP_ID,
  PCI_CAP_NEXT,
  PciCapability,
  PciCommand,
  PciConfig,
  PciPm,
  PciRegionIndex,
  PciStatus,
} from '../abi/pci.js';
import type { PciFunction } from './pci-function.js';

/**
 * A list of capabilities has at most this many entries in its 192 bytes; a loop in it must not hang
 * the engine.
 */
const CAPABILITIES_MAX = 48;

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

/** Offset of the first capability with this id; 0: the function has none. */
export function findCapability(pciFunction: PciFunction, id: number): number {
  if ((readConfig16(pciFunction, PciConfig.STATUS) & PciStatus.CAP_LIST) === 0) return 0;
  let at = readConfig16(pciFunction, PciConfig.CAPABILITY_LIST) & 0xfc;
  for (let i = 0; at !== 0 && i < CAPABILITIES_MAX; i++) {
    const header = readConfig16(pciFunction, at);
    if (((header >> (8 * PCI_CAP_ID)) & 0xff) === id) return at;
    at = (header >> (8 * PCI_CAP_NEXT)) & 0xfc;
  }
  return 0;
}

/**
 * Whether the command register lets memory be decoded and the function is not in D3hot (kernel:
 * __vfio_pci_memory_enabled). `power`: where its power management capability is; 0: it has none.
 */
export function memoryEnabled(
  pciFunction: PciFunction,
  power = findCapability(pciFunction, PciCapability.PM),
): boolean {
  if ((readConfig16(pciFunction, PciConfig.COMMAND) & PciCommand.MEMORY) === 0) return false;
  if (power === 0) return true;
  return (readConfig16(pciFunction, power + PciPm.CTRL) & PciPm.STATE_MASK) !== PciPm.D3_HOT;
}
