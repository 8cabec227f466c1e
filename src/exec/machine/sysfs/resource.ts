/** The lines of `resource`: where BARs and ROM lie, by config space. */
import { HIGH } from '../../../abi/long.js';
import { PciBar, PciConfig, PciRegionIndex } from '../../../abi/pci.js';
import { readConfig32 } from '../../../vfio/config-access.js';
import type { PciFunction } from '../../../vfio/pci-function.js';

/** linux/ioport.h */
const IORESOURCE_IO = 0x100;
const IORESOURCE_MEM = 0x200;
const IORESOURCE_PREFETCH = 0x2000;
const IORESOURCE_READONLY = 0x4000;
const IORESOURCE_SIZEALIGN = 0x40000;
const IORESOURCE_MEM_64 = 0x100000;

/** BARs, ROM and six of virtual functions (CONFIG_PCI_IOV), which come before a bridge's. */
const RESOURCES = 13;

export interface Resource {
  /** Start, end and flags. */
  readonly text: string;
  /** Bytes; 0: there is none. */
  readonly size: number;
  readonly isPrefetchable: boolean;
}

const none: Resource = { text: line(0, 0, 0), size: 0, isPrefetchable: false };

/** All of them, in the order of the file. */
export function resources(pci: PciFunction): Resource[] {
  return Array.from({ length: RESOURCES }, (_, index) => {
    const size = index <= PciRegionIndex.ROM ? pci.regions[index]!.size : 0;
    if (size === 0) return none;
    return index === PciRegionIndex.ROM ? rom(pci, size) : bar(pci, index, size);
  });
}

function bar(pci: PciFunction, index: number, size: number): Resource {
  const at = PciConfig.BASE_ADDRESS_0 + 4 * index;
  const low = readConfig32(pci, at);
  if ((low & PciBar.SPACE_IO) !== 0) {
    const flags = IORESOURCE_IO | IORESOURCE_SIZEALIGN | (low & PciBar.IO_FLAGS);
    return {
      text: range((low & ~PciBar.IO_FLAGS) >>> 0, size, flags),
      size,
      isPrefetchable: false,
    };
  }
  const isWide = (low & PciBar.MEMORY_TYPE_64) !== 0;
  const isPrefetchable = (low & PciBar.MEMORY_PREFETCH) !== 0;
  const start =
    (isWide ? readConfig32(pci, at + 4) * HIGH : 0) + ((low & ~PciBar.MEMORY_FLAGS) >>> 0);
  const flags =
    IORESOURCE_MEM |
    IORESOURCE_SIZEALIGN |
    (low & PciBar.MEMORY_FLAGS) |
    (isWide ? IORESOURCE_MEM_64 : 0) |
    (isPrefetchable ? IORESOURCE_PREFETCH : 0);
  return { text: range(start, size, flags), size, isPrefetchable };
}

function rom(pci: PciFunction, size: number): Resource {
  const start = (readConfig32(pci, PciConfig.ROM_ADDRESS) & PciBar.ROM_MASK) >>> 0;
  const flags = IORESOURCE_MEM | IORESOURCE_PREFETCH | IORESOURCE_READONLY | IORESOURCE_SIZEALIGN;
  return { text: range(start, size, flags), size, isPrefetchable: true };
}

function range(start: number, size: number, flags: number): string {
  return line(start, start + size - 1, flags);
}

function line(...values: readonly number[]): string {
  return values.map((value) => `0x${value.toString(16).padStart(16, '0')}`).join(' ');
}
