/** A function whose interrupts or registers are wrong, or that is pulled out, on purpose. */
import { PciInterruptIndex } from '../../abi/pci.js';
import type { ArmedRule, Plan } from '../../inject/plan.js';
import { comesByItself } from '../../inject/rule.js';
import type { IommuDevice } from '../../iommu/device.js';
import type { DmaBuffer } from '../../mm/frame-memory.js';
import { AbsentFunction } from '../../vfio/absent-function.js';
import type {
  DriverMemory,
  InterruptSink,
  PciFunction,
  PciRegion,
} from '../../vfio/pci-function.js';
import { FaultyInterrupts } from './faulty-interrupts.js';
import type { FaultyLink } from './faulty-link.js';

/** The rules of a function. */
interface FunctionRules {
  readonly interrupts: readonly ArmedRule[];
  /** Passed at each access, and when their time comes. */
  readonly events: readonly ArmedRule[];
  readonly registers: readonly ArmedRule[];
}

/** The function, or one in its place where the plan has faults for it. */
export function faultyFunction(
  plan: Plan,
  inner: PciFunction,
  memories: readonly DmaBuffer[],
  link: FaultyLink | null,
): PciFunction {
  const { address } = inner;
  const rules = {
    interrupts: plan.at(['interrupt:drop', 'interrupt:duplicate'], address),
    events: plan.at(['device:unplug', 'device:dead', 'interrupt:spurious'], address),
    registers: plan.at(['register'], address),
  };
  const isWhole = Object.values(rules).every(({ length }) => length === 0);
  return isWhole && link === null ? inner : new FaultyFunction(inner, rules, memories, link);
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
  readonly mappings?: NonNullable<PciFunction['mappings']>;
  readonly decodes?: NonNullable<PciFunction['decodes']>;
  private readonly absent: AbsentFunction;
  private readonly interrupts: FaultyInterrupts;
  private isGone = false;

  constructor(
    private readonly inner: PciFunction,
    private readonly rules: FunctionRules,
    private readonly memories: readonly DmaBuffer[],
    private readonly link: FaultyLink | null,
  ) {
    this.address = inner.address;
    this.kind = inner.kind;
    this.iommu = inner.iommu;
    this.regions = inner.regions;
    this.interruptCounts = inner.interruptCounts;
    this.resettable = inner.resettable;
    this.busReset = inner.busReset ?? false;
    this.dmaUnmap = inner.dmaUnmap;
    if (inner.mappings !== undefined) this.mappings = inner.mappings;
    if (inner.decodes !== undefined) this.decodes = (bar) => this.isGone || inner.decodes!(bar);
    this.absent = new AbsentFunction(inner);
    this.interrupts = new FaultyInterrupts(rules.interrupts);
  }

  open(sink: InterruptSink, memory?: DriverMemory): void {
    this.interrupts.sink = sink;
    this.inner.open(this.interrupts, memory);
    if (this.isGone) this.silence();
  }

  release(): void {
    this.interrupts.sink = null;
    this.inner.release();
  }

  reset(): void {
    if (!this.isGone) this.inner.reset();
  }

  readRegion(index: number, offset: number, into: Uint8Array): void {
    if (this.accessed()) return this.absent.readRegion(index, offset, into);
    this.inner.readRegion(index, offset, into);
    for (const each of this.rules.registers) {
      const { register, what } = each.rule;
      if (register!.region !== index || register!.offset !== offset || !each.passes()) continue;
      for (let byte = 0; byte < into.length; byte++) into[byte] = what / 256 ** byte;
    }
  }

  writeRegion(index: number, offset: number, from: Uint8Array): void {
    if (!this.accessed()) this.inner.writeRegion(index, offset, from);
  }

  interruptsEnabled(index: number, vectors: number): void {
    this.interrupts.armed(index, vectors);
    if (!this.isGone) this.inner.interruptsEnabled(index, vectors);
  }

  intxMasked(masked: boolean): void {
    if (!this.isGone) this.inner.intxMasked?.(masked);
  }

  poll(): boolean {
    if (this.isGone) return false;
    this.link?.look();
    for (const each of this.rules.events)
      if (comesByItself(each.rule) && each.passes()) this.happens(each);
    return !this.isGone && this.inner.poll();
  }

  /** A register is accessed. True: nobody is there any more. */
  private accessed(): boolean {
    if (this.isGone || this.interrupts.sink === null) return this.isGone;
    for (const each of this.rules.events) if (each.passes()) this.happens(each);
    return this.isGone;
  }

  private happens({ rule }: ArmedRule): void {
    if (this.isGone) return;
    if (rule.point === 'interrupt:spurious') return this.interrupts.raise(rule.vector ?? 0);
    this.isGone = true;
    this.silence();
    if (rule.point === 'device:unplug') this.tell();
  }

  private tell(): void {
    this.interrupts.notify(PciInterruptIndex.ERR);
    this.interrupts.notify(PciInterruptIndex.REQ);
  }

  /** It does no DMA and raises nothing, and its mapped registers are ones. */
  private silence(): void {
    this.inner.release();
    for (const { bytes } of this.memories) bytes.fill(0xff);
  }
}
