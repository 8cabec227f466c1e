/** A function whose interrupts get lost or come twice, or that is pulled out, on purpose. */
import { PciInterruptIndex } from '../../abi/pci.js';
import type { ArmedRule, Plan } from '../../inject/plan.js';
import type { IommuDevice } from '../../iommu/device.js';
import type { DmaBuffer } from '../../mm/frame-memory.js';
import { AbsentFunction } from '../../vfio/absent-function.js';
import type {
  DriverMemory,
  InterruptSink,
  PciFunction,
  PciRegion,
} from '../../vfio/pci-function.js';

/** The function, or one in its place where the plan has faults for it. */
export function faultyFunction(
  plan: Plan,
  inner: PciFunction,
  memories: readonly DmaBuffer[],
): PciFunction {
  const interrupts = plan.at(['interrupt:drop', 'interrupt:duplicate'], inner.address);
  const unplugs = plan.at(['device:unplug'], inner.address);
  if (interrupts.length === 0 && unplugs.length === 0) return inner;
  return new FaultyFunction(inner, interrupts, unplugs, memories);
}

class FaultyFunction implements PciFunction {
  readonly address: string;
  readonly kind: string;
  readonly iommu: IommuDevice;
  readonly regions: readonly PciRegion[];
  readonly interruptCounts: readonly number[];
  readonly resettable: boolean;
  readonly busReset: boolean;
  readonly dmaUnmap: PciFunction['dmaUnmap'];
  private readonly absent: AbsentFunction;
  private isGone = false;
  private sink: InterruptSink | null = null;

  constructor(
    private readonly inner: PciFunction,
    private readonly interrupts: readonly ArmedRule[],
    private readonly unplugs: readonly ArmedRule[],
    private readonly memories: readonly DmaBuffer[],
  ) {
    this.address = inner.address;
    this.kind = inner.kind;
    this.iommu = inner.iommu;
    this.regions = inner.regions;
    this.interruptCounts = inner.interruptCounts;
    this.resettable = inner.resettable;
    this.busReset = inner.busReset ?? false;
    this.dmaUnmap = inner.dmaUnmap;
    this.absent = new AbsentFunction(inner);
  }

  open(sink: InterruptSink, memory?: DriverMemory): void {
    this.sink = sink;
    const faulty = this.interrupts.length === 0 ? sink : faultySink(sink, this.interrupts);
    this.inner.open(faulty, memory);
    if (this.isGone) this.silence();
  }

  release(): void {
    this.sink = null;
    this.inner.release();
  }

  reset(): void {
    if (!this.isGone) this.inner.reset();
  }

  readRegion(index: number, offset: number, into: Uint8Array): void {
    if (!this.accessed()) this.inner.readRegion(index, offset, into);
    else this.absent.readRegion(index, offset, into);
  }

  writeRegion(index: number, offset: number, from: Uint8Array): void {
    if (!this.accessed()) this.inner.writeRegion(index, offset, from);
  }

  interruptsEnabled(index: number, vectors: number): void {
    if (!this.isGone) this.inner.interruptsEnabled(index, vectors);
  }

  poll(): boolean {
    if (this.isGone) return false;
    // A time comes without an access.
    for (const each of this.unplugs)
      if (each.rule.afterMs > 0 && each.rule.when.last === 1 && each.passes()) this.pullOut();
    return !this.isGone && this.inner.poll();
  }

  /** A register is accessed. True: nobody is there any more. */
  private accessed(): boolean {
    if (this.isGone || this.sink === null) return this.isGone;
    for (const each of this.unplugs) if (each.passes()) this.pullOut();
    return this.isGone;
  }

  private pullOut(): void {
    const { sink } = this;
    this.isGone = true;
    this.silence();
    sink?.notify?.(PciInterruptIndex.ERR);
    sink?.notify?.(PciInterruptIndex.REQ);
  }

  /** It does no DMA and raises nothing, and its mapped registers are ones. */
  private silence(): void {
    this.inner.release();
    for (const { bytes } of this.memories) bytes.fill(0xff);
  }
}

function faultySink(sink: InterruptSink, rules: readonly ArmedRule[]): InterruptSink {
  /** How often an interrupt is to come: 0, 1 or more. */
  const times = (vector: number, isPin: boolean): number => {
    let count = 1;
    for (const each of rules) {
      const isDrop = each.rule.point === 'interrupt:drop';
      if (isPin && !isDrop) continue;
      if (each.rule.vector !== null && each.rule.vector !== vector) continue;
      if (each.passes()) count = isDrop ? 0 : count * 2;
    }
    return count;
  };
  return {
    intx: (asserted) => {
      if (!asserted || times(0, true) > 0) sink.intx(asserted);
    },
    msi: (vector) => {
      for (let left = times(vector, false); left > 0; left--) sink.msi(vector);
    },
    msix: (vector) => {
      for (let left = times(vector, false); left > 0; left--) sink.msix(vector);
    },
    notify: (index) => sink.notify?.(index),
  };
}
