/** Interrupts that get lost, come twice, or that nobody caused, on purpose. */
import { PciInterruptIndex } from '../../abi/pci.js';
import type { ArmedRule } from '../../inject/plan.js';
import type { InterruptSink } from '../../vfio/pci-function.js';

const NONE = -1;

/** Stands between a function and vfio's interrupt state. */
export class FaultyInterrupts implements InterruptSink {
  /** Null: the function is not open. */
  sink: InterruptSink | null = null;
  private isAsserted = false;
  /** What the program has armed: an interrupt index, or NONE. */
  private on: number = NONE;

  /** `rules`: interrupt:drop and interrupt:duplicate. */
  constructor(private readonly rules: readonly ArmedRule[]) {}

  armed(index: number, vectors: number): void {
    if (index > PciInterruptIndex.MSIX) return;
    if (vectors > 0) this.on = index;
    else if (this.on === index) this.on = NONE;
  }

  /** A message of what is armed; else the pin goes up and down, unless the function holds it up. */
  raise(vector: number): void {
    const { sink } = this;
    if (this.on === PciInterruptIndex.MSI) sink?.msi(vector);
    else if (this.on === PciInterruptIndex.MSIX) sink?.msix(vector);
    else if (!this.isAsserted) {
      sink?.intx(true);
      sink?.intx(false);
    }
  }

  intx(asserted: boolean): void {
    if (asserted && this.times(0, true) === 0) return;
    this.isAsserted = asserted;
    this.sink?.intx(asserted);
  }

  msi(vector: number): void {
    for (let left = this.times(vector, false); left > 0; left--) this.sink?.msi(vector);
  }

  msix(vector: number): void {
    for (let left = this.times(vector, false); left > 0; left--) this.sink?.msix(vector);
  }

  notify(index: number): void {
    this.sink?.notify?.(index);
  }

  /** How often an interrupt is to come: 0, 1 or more. */
  private times(vector: number, isPin: boolean): number {
    let count = 1;
    for (const each of this.rules) {
      const isDrop = each.rule.point === 'interrupt:drop';
      if (isPin && !isDrop) continue;
      if (each.rule.vector !== null && each.rule.vector !== vector) continue;
      if (each.passes()) count = isDrop ? 0 : count * 2;
    }
    return count;
  }
}
