/** A function whose device is a user's code: what that throws ends the device, not the run. */
import { PciInterruptIndex } from '../abi/pci.js';
import type { PciEndpoint } from '../device/pci/endpoint.js';
import type { IommuDevice } from '../iommu/device.js';
import { AbsentFunction } from '../vfio/absent-function.js';
import type { DriverMemory, InterruptSink, PciFunction, PciRegion } from '../vfio/pci-function.js';
import type { KitDevice } from './kit-device.js';
import type { DmaCount } from './port.js';

/** What handlers are called where a device hangs in one. */
export const handlerNames = ['open', 'release', 'reset', 'read', 'write', 'poll', 'load'] as const;
const Handler = { OPEN: 0, RELEASE: 1, RESET: 2, READ: 3, WRITE: 4, POLL: 5 } as const;
/** Its module is loaded, or the device made. */
export const LOADING = 6;

/** Who looks after a device. */
export interface Fate {
  readonly dma: DmaCount;
  /** A handler of the device begins, and has returned. */
  entered(handler: number): void;
  left(): void;
  /** A handler threw this, and the device is dead. May throw, to end the run. */
  died(pciFunction: PciFunction, error: unknown): void;
}

export class GuardedFunction implements PciFunction {
  readonly address: string;
  readonly kind: string;
  readonly iommu: IommuDevice;
  readonly regions: readonly PciRegion[];
  readonly interruptCounts: readonly number[];
  readonly resettable: boolean;
  readonly busReset: boolean;
  private readonly absent: AbsentFunction;
  private sink: InterruptSink | null = null;

  constructor(
    private readonly inner: PciEndpoint,
    private readonly device: KitDevice,
    private readonly fate: Fate,
  ) {
    this.address = inner.address;
    this.kind = inner.kind;
    this.iommu = inner.iommu;
    this.regions = inner.regions;
    this.interruptCounts = inner.interruptCounts;
    this.resettable = inner.resettable;
    this.busReset = inner.busReset;
    this.absent = new AbsentFunction(inner);
  }

  open(sink: InterruptSink, memory?: DriverMemory): void {
    this.sink = sink;
    if (!this.device.isDead) this.run(Handler.OPEN, () => this.inner.open(sink, memory));
  }

  release(): void {
    this.sink = null;
    if (!this.device.isDead) this.run(Handler.RELEASE, () => this.inner.release());
  }

  reset(): void {
    if (!this.device.isDead) this.run(Handler.RESET, () => this.inner.reset());
  }

  readRegion(index: number, offset: number, into: Uint8Array): void {
    if (!this.device.isDead)
      this.run(Handler.READ, () => this.inner.readRegion(index, offset, into));
    if (this.device.isDead) this.absent.readRegion(index, offset, into);
  }

  writeRegion(index: number, offset: number, from: Uint8Array): void {
    if (!this.device.isDead)
      this.run(Handler.WRITE, () => this.inner.writeRegion(index, offset, from));
  }

  interruptsEnabled(index: number, vectors: number): void {
    if (!this.device.isDead) this.inner.interruptsEnabled(index, vectors);
  }

  poll(): boolean {
    if (this.device.isDead) return false;
    const { dma } = this.device;
    this.fate.entered(Handler.POLL);
    let found = false;
    try {
      found = this.inner.poll();
    } catch (error) {
      if (dma.engineError === null) this.die(error);
    }
    this.fate.left();
    this.passEngineError();
    return found;
  }

  private run(handler: number, work: () => void): void {
    this.fate.entered(handler);
    try {
      work();
    } catch (error) {
      if (this.device.dma.engineError === null) this.die(error);
    }
    this.fate.left();
    this.passEngineError();
  }

  /** Whatever the device's author does with it. */
  private passEngineError(): void {
    const { dma } = this.device;
    if (dma.engineError === null) return;
    const { error } = dma.engineError;
    dma.engineError = null;
    throw error;
  }

  /** It does no DMA and raises nothing any more, and its mapped registers are ones. */
  private die(error: unknown): void {
    this.device.isDead = true;
    this.inner.release();
    for (const [index, { mappable, size }] of this.regions.entries())
      if (mappable && size > 0) this.inner.barMemory(index).bytes.fill(0xff);
    this.sink?.notify?.(PciInterruptIndex.ERR);
    this.fate.died(this, error);
  }
}
