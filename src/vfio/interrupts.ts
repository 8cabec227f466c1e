/**
 * The interrupts of one open device, from the function's pin and messages to the program's eventfds
 * (kernel: vfio_pci_intrs.c).
 *
 * Terms: at most one of INTx, MSI and MSI-X is *on* at a time. A *trigger* is the eventfd of a
 * vector. INTx is level and masks itself when it fires; a *resample* eventfd unmasks it.
 */
import { fail } from '../abi/errno.js';
import type { KernelProfile } from '../abi/kernel.js';
import { PciCommand, PciConfig, PciInterruptIndex } from '../abi/pci.js';
import type { EventCounter } from '../file/file.js';
import { readConfig16 } from './config-access.js';
import type { InterruptSink, PciFunction } from './pci-function.js';

const { INTX, MSI, MSIX } = PciInterruptIndex;
const NONE = -1;

export class Interrupts implements InterruptSink {
  /** Which of INTx, MSI, MSI-X is on; -1 for none. */
  private on: number = NONE;
  private readonly triggers = new Map<number, EventCounter>();
  /** Vectors that MSI or MSI-X was switched on with; it says nothing while neither is on. */
  private enabledVectors = 0;
  private pinAsserted = false;
  private masked = false;
  private stopResample: (() => void) | null = null;
  private resample: EventCounter | null = null;
  /** ERR and REQ: one eventfd each, by interrupt index. */
  private readonly single = new Map<number, EventCounter>();

  constructor(
    private readonly pciFunction: PciFunction,
    private readonly kernel: KernelProfile,
  ) {}

  isOn(index: number): boolean {
    return this.on === index;
  }

  get noneOn(): boolean {
    return this.on === NONE;
  }

  intx(asserted: boolean): void {
    this.pinAsserted = asserted;
    if (!asserted) return;
    if (this.on === NONE) this.lost(INTX, 0);
    else this.fireIntx();
  }

  msi(vector: number): void {
    if (this.on === MSI) this.message(vector);
  }

  msix(vector: number): void {
    if (this.on === MSIX) this.message(vector);
  }

  notify(index: number): void {
    this.singleTrigger(index)?.signal();
  }

  /**
   * Signals a vector as the function would (DATA_NONE, DATA_BOOL), whatever is masked; but not INTx
   * where the command register disables it.
   */
  loopback(vector: number): void {
    if (
      this.on === INTX &&
      (readConfig16(this.pciFunction, PciConfig.COMMAND) & PciCommand.INTX_DISABLE) !== 0
    )
      return;
    this.triggers.get(vector)?.signal();
  }

  /**
   * Whether messages up to this vector can be asked for a loopback: EINVAL beyond those that are
   * on.
   */
  reaches(vectors: number): boolean {
    return this.kernel.dynamicMsix || vectors <= this.enabledVectors;
  }

  /** Switches INTx on with a trigger, or with none yet. */
  enableIntx(trigger: EventCounter | null): void {
    this.on = INTX;
    this.masked = false;
    if (trigger) this.triggers.set(0, trigger);
    this.pciFunction.interruptsEnabled(INTX, 1);
    if (this.pinAsserted) this.fireIntx();
  }

  disableIntx(): void {
    this.setResample(null);
    this.dropTriggers();
    this.on = NONE;
    this.pciFunction.interruptsEnabled(INTX, 0);
  }

  /** Replaces INTx's trigger; the one before is dropped. */
  setIntxTrigger(trigger: EventCounter | null): void {
    this.replaceTrigger(0, trigger);
    if (this.pinAsserted) this.fireIntx();
  }

  maskIntx(): void {
    this.masked = true;
    this.pciFunction.intxMasked?.(true);
  }

  unmaskIntx(): void {
    if (!this.masked) return;
    this.masked = false;
    this.pciFunction.intxMasked?.(false);
    if (this.pinAsserted) this.fireIntx();
  }

  /**
   * Sets the eventfd that unmasks INTx, or takes it off: EBUSY where there is one, EINVAL where it
   * cannot be watched.
   */
  setResample(counter: EventCounter | null): void {
    if (counter === null) {
      this.stopResample?.();
      this.resample?.close();
      this.stopResample = null;
      this.resample = null;
      return;
    }
    if (this.resample || !counter.watch) {
      counter.close();
      fail(this.resample ? 'EBUSY' : 'EINVAL');
    }
    this.resample = counter;
    this.stopResample = counter.watch(() => {
      // What the program stored before it signalled may have lowered the pin.
      this.pciFunction.poll();
      this.unmaskIntx();
    });
  }

  /** Switches MSI or MSI-X on with this many vectors, none of which has a trigger yet. */
  enableMessages(index: number, vectors: number): void {
    this.on = index;
    this.enabledVectors = vectors;
    this.pciFunction.interruptsEnabled(index, vectors);
  }

  disableMessages(): void {
    const index = this.on;
    this.dropTriggers();
    this.on = NONE;
    this.pciFunction.interruptsEnabled(index, 0);
  }

  /**
   * Sets the triggers of vectors [start, start + count) one after the other; `open(i)` gives the
   * trigger of the i-th, null to take it off. Where one fails those of the block are all off, as in
   * vfio_msi_set_block; but nothing changes where the kernel finds out beforehand that the block
   * lies beyond the vectors that are on.
   */
  setMessageBlock(start: number, count: number, open: (i: number) => EventCounter | null): void {
    if (!this.kernel.dynamicMsix && start + count > this.enabledVectors) fail('EINVAL');
    let done = 0;
    try {
      for (; done < count; done++) this.setMessageTrigger(start + done, () => open(done));
    } catch (error) {
      // The one that failed has none.
      while (done-- > 0) this.replaceTrigger(start + done, null);
      throw error;
    }
  }

  private setMessageTrigger(vector: number, open: () => EventCounter | null): void {
    if (vector >= this.enabledVectors) {
      if (this.on !== MSIX) fail('EINVAL');
      this.enabledVectors = vector + 1;
      this.pciFunction.interruptsEnabled(MSIX, this.enabledVectors);
    }
    this.replaceTrigger(vector, null);
    this.replaceTrigger(vector, open());
  }

  /** The eventfd of ERR or REQ. */
  singleTrigger(index: number): EventCounter | null {
    return this.single.get(index) ?? null;
  }

  setSingleTrigger(index: number, trigger: EventCounter | null): void {
    this.single.get(index)?.close();
    if (trigger) this.single.set(index, trigger);
    else this.single.delete(index);
  }

  /** The device is closed: everything is off and no eventfd is held. */
  release(): void {
    if (this.on === INTX) this.disableIntx();
    else if (this.on !== NONE) this.disableMessages();
    for (const index of [...this.single.keys()]) this.setSingleTrigger(index, null);
    this.pinAsserted = false;
  }

  private message(vector: number): void {
    const trigger = this.triggers.get(vector);
    if (trigger === undefined) this.lost(this.on, vector);
    else trigger.signal();
  }

  private lost(index: number, vector: number): void {
    const { iommu } = this.pciFunction;
    iommu.incidents?.interruptLost(iommu, index, vector);
  }

  private fireIntx(): void {
    if (this.on !== INTX || this.masked) return;
    this.masked = true;
    this.triggers.get(0)?.signal();
  }

  private replaceTrigger(vector: number, trigger: EventCounter | null): void {
    this.triggers.get(vector)?.close();
    if (trigger) this.triggers.set(vector, trigger);
    else this.triggers.delete(vector);
  }

  private dropTriggers(): void {
    for (const trigger of this.triggers.values()) trigger.close();
    this.triggers.clear();
  }
}
