/** What an access to a PCI function finds that does not answer any more. */
import { PciCapability, PciPm, PciRegionIndex } from '../abi/pci.js';
import { findCapability } from './config-access.js';
import type { PciFunction } from './pci-function.js';

/** Ones, as a bus reads that nobody drives. Made while the function answers still. */
export class AbsentFunction {
  /** Where its power state is in config space; -1: it has none. */
  private readonly powerControl: number;

  constructor(inner: PciFunction) {
    const power = findCapability(inner, PciCapability.PM);
    this.powerControl = power === 0 ? -1 : power + PciPm.CTRL;
  }

  readRegion(index: number, offset: number, into: Uint8Array): void {
    into.fill(0xff);
    // What vfio-pci knows of its power state is D0 still: loads of a mapped BAR go on.
    const state = this.powerControl - offset;
    if (index === PciRegionIndex.CONFIG && state >= 0 && state < into.length)
      into[state]! &= ~PciPm.STATE_MASK;
  }
}
