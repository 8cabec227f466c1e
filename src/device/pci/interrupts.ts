import { PciInterruptIndex } from '../../abi/pci.js';
import type { InterruptSink } from '../../vfio/pci-function.js';

/**
 * A function's interrupts: the pin, and messages when MSI or MSI-X is on; then the pin is silent.
 */
export class Interrupts {
  private sink: InterruptSink | null = null;
  private readonly armedVectors = [0, 0, 0];
  private pinLevel = false;
  private pinDisabled = false;
  private shown = false;
  /** MSI vectors that are masked, and those that are pending: a bit for each. */
  private msiMask = 0;
  private msiPending = 0;

  /** Interrupts are messages now (MSI or MSI-X). */
  get messages(): boolean {
    return this.armed(PciInterruptIndex.MSI) > 0 || this.armed(PciInterruptIndex.MSIX) > 0;
  }

  /** Level of the pin that the device asks for, whether or not it reaches the sink. */
  get pinAsserted(): boolean {
    return this.pinLevel;
  }

  /** MSI vectors that were raised while they were masked: a bit for each. */
  get pendingMsi(): number {
    return this.msiPending;
  }

  /** Vectors of an index (INTx, MSI, MSI-X) that are on. */
  armed(index: number): number {
    return this.armedVectors[index] ?? 0;
  }

  connect(sink: InterruptSink | null): void {
    this.sink = sink;
    this.armedVectors.fill(0);
    this.pinLevel = false;
    this.pinDisabled = false;
    this.shown = false;
  }

  /** SET_IRQS switched `vectors` of an index on (0: off). */
  arm(index: number, vectors: number): void {
    if (index < this.armedVectors.length) this.armedVectors[index] = vectors;
    this.show();
  }

  /** Nothing of MSI is masked, and nothing pending. */
  forgetMasked(): void {
    this.msiMask = this.msiPending = 0;
  }

  /** Masks these MSI vectors, a bit for each; sends what was pending of the others. */
  maskMsi(mask: number): void {
    this.msiMask = mask;
    for (let due = this.msiPending & ~mask; due !== 0; due &= due - 1)
      this.sink?.msi(31 - Math.clz32(due & -due));
    this.msiPending &= mask;
  }

  /** Command register: the pin may not be asserted. */
  disablePin(disabled: boolean): void {
    this.pinDisabled = disabled;
    this.show();
  }

  /**
   * Sends vector `vector` (0-based) as a message; with fewer MSI vectors on, the last stands for
   * the rest. False: no messages.
   */
  message(vector: number): boolean {
    const msi = this.armed(PciInterruptIndex.MSI);
    if (this.armed(PciInterruptIndex.MSIX) > 0) this.sink?.msix(vector);
    else if (msi > 0) this.msi(Math.min(vector, msi - 1));
    else return false;
    return true;
  }

  private msi(vector: number): void {
    if (((this.msiMask >>> vector) & 1) === 0) this.sink?.msi(vector);
    else this.msiPending |= 1 << vector;
  }

  /** Sets the level of the pin. */
  pin(asserted: boolean): void {
    this.pinLevel = asserted;
    this.show();
  }

  private show(): void {
    const level = this.pinLevel && !this.pinDisabled && !this.messages;
    if (level === this.shown) return;
    this.shown = level;
    this.sink?.intx(level);
  }
}
