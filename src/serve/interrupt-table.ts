/**
 * The interrupts of a served device: the client's eventfds by index and vector.
 *
 * The pin is level: it is signalled when it rises, and again as long as it stays up, because a
 * client that does not unmask (QEMU) cannot ask. Masking holds that back.
 */
import { POLLOUT } from '../abi/linux.js';
import { PciInterruptIndex } from '../abi/pci.js';
import type { IommuDevice } from '../iommu/device.js';
import { allocateNative, close, poll, write } from '../mm/process/libc.js';
import type { InterruptSink, PciFunction } from '../vfio/pci-function.js';

const { INTX, MSI, MSIX, COUNT } = PciInterruptIndex;
const EVENT_BYTES = 8;

/** One counter tick for write(2), and a pollfd. */
const memory = allocateNative(2 * EVENT_BYTES);
new Uint32Array(memory.bytes.buffer, 0, 1)[0] = 1;
const pollWords = new Int32Array(memory.bytes.buffer, EVENT_BYTES, 2);

export class InterruptTable implements InterruptSink {
  /** How many were signalled. */
  signals = 0;
  private readonly eventfds: Map<number, number>[] = Array.from({ length: COUNT }, () => new Map());
  private isHigh = false;
  private isMasked = false;

  constructor(private readonly pciFunction: PciFunction) {}

  intx(asserted: boolean): void {
    this.isHigh = asserted;
    if (asserted) this.signalPin();
  }

  msi(vector: number): void {
    this.message(MSI, vector);
  }

  msix(vector: number): void {
    this.message(MSIX, vector);
  }

  notify(index: number): void {
    this.signal(index, 0);
  }

  /** The pin is still up: says it again. */
  remind(): void {
    if (this.isHigh) this.signalPin();
  }

  mask(): void {
    this.isMasked = true;
  }

  unmask(): void {
    this.isMasked = false;
    this.remind();
  }

  /**
   * Connects vectors from `start` on with these eventfds, which are the table's from now on; what
   * was there is closed.
   */
  connect(index: number, start: number, descriptors: readonly number[]): void {
    descriptors.forEach((fd, i) => {
      this.drop(index, start + i);
      this.eventfds[index]!.set(start + i, fd);
    });
    this.tell(index);
    if (index === INTX) this.remind();
  }

  /** Disconnects `count` vectors. */
  disconnect(index: number, start: number, count: number): void {
    for (let vector = start; vector < start + count; vector++) this.drop(index, vector);
    if (index === INTX) this.isMasked = false;
    this.tell(index);
  }

  /** Signals a vector as the device would, if it is connected. */
  signal(index: number, vector: number): boolean {
    const fd = this.eventfds[index]!.get(vector);
    if (fd === undefined) return false;
    pollWords[0] = fd;
    pollWords[1] = POLLOUT;
    // A full counter would make write(2) wait; an interrupt that is pending needs no second one.
    if (poll(memory.address + EVENT_BYTES, 1, 0) === 1) write(fd, memory.address, EVENT_BYTES);
    this.signals++;
    return true;
  }

  /** The client is gone. */
  release(): void {
    for (let index = 0; index < COUNT; index++)
      for (const vector of [...this.eventfds[index]!.keys()]) this.drop(index, vector);
    this.isHigh = this.isMasked = false;
  }

  private signalPin(): void {
    if (this.isMasked || this.signal(INTX, 0)) return;
    this.lost(INTX, 0);
  }

  private message(index: number, vector: number): void {
    if (!this.signal(index, vector)) this.lost(index, vector);
  }

  private lost(index: number, vector: number): void {
    const iommu: IommuDevice = this.pciFunction.iommu;
    iommu.incidents?.interruptLost(iommu, index, vector);
  }

  private drop(index: number, vector: number): void {
    const vectors = this.eventfds[index]!;
    const fd = vectors.get(vector);
    if (fd !== undefined) close(fd);
    vectors.delete(vector);
  }

  /** The function sends messages as far as the last one that is connected. */
  private tell(index: number): void {
    const vectors = [...this.eventfds[index]!.keys()];
    this.pciFunction.interruptsEnabled(index, vectors.length === 0 ? 0 : Math.max(...vectors) + 1);
  }
}
