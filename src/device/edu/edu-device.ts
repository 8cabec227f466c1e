import type { PageRange } from '../../iommu/group.js';
import type { AllocateDma, DmaBuffer } from '../../mm/frame-memory.js';
import type { PciEndpoint } from '../pci/endpoint.js';
import type { PciDevice } from '../pci/pci-device.js';
import { PinCache } from '../pin-cache.js';
import {
  EDU_BUFFER,
  EDU_BUFFER_BYTES,
  EDU_DMA_MASK,
  EDU_IDENTIFICATION,
  EDU_STATUS_INTERRUPT,
  EduDma,
  EduEvent,
  EduRegister,
} from './registers.js';

const word = (offset: number): number => offset / 4;
const NO_REGISTER = 0xffffffff;

/**
 * QEMU's teaching device. There is no clock down here, so a factorial and a DMA transfer are
 * complete when the write that starts them returns; a program that spins on STATUS or DMA_COMMAND
 * finds them idle at its first look.
 *
 * A transfer that meets a page which a guest must bring (R8.1) is left there, START stays set, and
 * `poll` goes on with it; what is written to the DMA registers meanwhile is lost, as on the real
 * device.
 */
export class EduDevice implements PciDevice {
  private readonly dmaMask: number;
  private readonly words = new Uint32Array(word(EduRegister.END));
  private readonly buffer: DmaBuffer;
  private interruptStatus = 0;
  readonly stalls: boolean;
  /** What it pins, where it cannot wait everywhere; null: nothing. */
  private readonly pins: PinCache | null;
  readonly dmaUnmap?: (iovaPage: number, pages: number) => void;
  /** A transfer is under way: what its registers said, and how many bytes of it are done. */
  private running = false;
  private readonly latched = new Uint32Array(word(EduRegister.END - EduRegister.DMA_SOURCE));
  private done = 0;

  /**
   * `dmaMask`: addresses on the bus are cut to it; 2^n - 1, below 2^53. `faultable`: the only pages
   * that it can wait for; it then takes no first stage, whose addresses are not those that it pins.
   */
  constructor(
    private readonly endpoint: PciEndpoint,
    allocate: AllocateDma,
    dmaMask = EDU_DMA_MASK,
    faultable: readonly PageRange[] | null = null,
  ) {
    this.stalls = faultable === null;
    const pins = faultable === null ? null : new PinCache(faultable, () => endpoint.memory);
    this.pins = pins;
    if (pins !== null) this.dmaUnmap = (iovaPage, pages) => pins.dmaUnmap(iovaPage, pages);
    this.buffer = allocate(EDU_BUFFER_BYTES);
    this.dmaMask = dmaMask;
    endpoint.dma.asker = () => this.asking();
  }

  reset(): void {
    this.words.fill(0);
    this.words[word(EduRegister.IDENTIFICATION)] = EDU_IDENTIFICATION;
    this.interruptStatus = 0;
    this.running = false;
    this.pins?.release();
    this.buffer.bytes.fill(0);
  }

  read(_bar: number, offset: number, size: number): number {
    if (size !== 4) return 0;
    switch (offset) {
      case EduRegister.IDENTIFICATION:
        return EDU_IDENTIFICATION;
      case EduRegister.INTERRUPT_STATUS:
        return this.interruptStatus;
      case EduRegister.LIVENESS:
      case EduRegister.FACTORIAL:
      case EduRegister.STATUS:
        return this.words[word(offset)]!;
      default:
        return offset >= EduRegister.DMA_SOURCE && offset < EduRegister.END
          ? this.words[word(offset)]!
          : NO_REGISTER;
    }
  }

  write(_bar: number, offset: number, size: number, value: number): void {
    if (size !== 4) return;
    switch (offset) {
      case EduRegister.LIVENESS:
        this.words[word(offset)] = ~value;
        break;
      case EduRegister.FACTORIAL:
        this.compute(value);
        break;
      case EduRegister.STATUS:
        this.words[word(offset)] = value & EDU_STATUS_INTERRUPT;
        break;
      case EduRegister.INTERRUPT_RAISE:
        this.raise(value);
        break;
      case EduRegister.INTERRUPT_ACKNOWLEDGE:
        this.acknowledge(value);
        break;
      default:
        if (offset < EduRegister.DMA_SOURCE || offset >= EduRegister.END || this.running) break;
        this.words[word(offset)] = value;
        if (offset === EduRegister.DMA_COMMAND && (value & EduDma.START) !== 0) this.begin();
    }
  }

  /** The DMA registers are of 64 bits, all others of 32. */
  takesWide(_bar: number, offset: number): boolean {
    return offset >= EduRegister.DMA_SOURCE;
  }

  /** Goes on with a transfer that waits for a page; nothing else is left undone. */
  poll(): boolean {
    return this.running && this.goOn();
  }

  /** Modulo 2^32, which is 0 from 34! on. */
  private compute(value: number): void {
    let product = value < 34 ? 1 : 0;
    for (let factor = value; product !== 0 && factor > 1; factor--)
      product = Math.imul(product, factor);
    this.words[word(EduRegister.FACTORIAL)] = product;
    if ((this.words[word(EduRegister.STATUS)]! & EDU_STATUS_INTERRUPT) !== 0)
      this.raise(EduEvent.FACTORIAL);
  }

  /**
   * A read that is refused gives zeros, a write is dropped; START is clear when the transfer is
   * over either way.
   */
  private begin(): void {
    this.latched.set(this.words.subarray(word(EduRegister.DMA_SOURCE), word(EduRegister.END)));
    this.running = true;
    this.done = 0;
    const inside = this.inside;
    if (!this.toMemory && this.fits) this.buffer.bytes.fill(0, inside, inside + this.count);
    this.transfer();
  }

  /** Goes on with a transfer that waits; false: it still has to. */
  private goOn(): boolean {
    if (!this.endpoint.dma.ready) return false;
    this.transfer();
    return true;
  }

  private transfer(): void {
    // A transfer that leaves the internal buffer does nothing (QEMU ends there).
    if (this.fits && !this.move()) return;
    this.running = false;
    const command = this.register(EduRegister.DMA_COMMAND);
    this.words[word(EduRegister.DMA_COMMAND)] = command & ~EduDma.START;
    if ((command & EduDma.INTERRUPT) !== 0) this.raise(EduEvent.DMA);
  }

  /** Moves what is left of the transfer; false: some of it has to wait. */
  private move(): boolean {
    const { dma } = this.endpoint;
    const toMemory = this.toMemory;
    const address =
      this.cut(toMemory ? EduRegister.DMA_DESTINATION : EduRegister.DMA_SOURCE) + this.done;
    const inside = this.inside + this.done;
    const left = this.count - this.done;
    // A transfer whose pages cannot be pinned does not start.
    if (dma.enabled && this.pins?.hold(address, left, toMemory) === false) return true;
    if (toMemory) dma.writeRange(address, left, this.buffer, inside);
    else dma.readRange(address, left, this.buffer, inside);
    if (dma.stalled) this.done += dma.stalledAt;
    return !dma.stalled;
  }

  /** `DMA command 0x3: 4096 bytes from buffer+0x0 to 0x100000`. */
  private asking(): string | null {
    if (!this.running) return null;
    const { count, toMemory } = this;
    const address = this.cut(toMemory ? EduRegister.DMA_DESTINATION : EduRegister.DMA_SOURCE);
    const [own, bus] = [`buffer+${hex(this.inside)}`, hex(address)];
    const [from, to] = toMemory ? [own, bus] : [bus, own];
    const command = hex(this.register(EduRegister.DMA_COMMAND));
    return `DMA command ${command}: ${count} bytes from ${from} to ${to}`;
  }

  private get toMemory(): boolean {
    return (this.register(EduRegister.DMA_COMMAND) & EduDma.TO_MEMORY) !== 0;
  }

  private get count(): number {
    return this.long(EduRegister.DMA_COUNT);
  }

  /** Where in the internal buffer the transfer begins. */
  private get inside(): number {
    return (
      this.long(this.toMemory ? EduRegister.DMA_SOURCE : EduRegister.DMA_DESTINATION) - EDU_BUFFER
    );
  }

  private get fits(): boolean {
    return this.inside >= 0 && this.inside + this.count <= EDU_BUFFER_BYTES;
  }

  /** A DMA register as it was when the transfer began. */
  private register(offset: number): number {
    return this.latched[word(offset - EduRegister.DMA_SOURCE)]!;
  }

  private long(offset: number): number {
    return this.register(offset + 4) * 2 ** 32 + this.register(offset);
  }

  /** A bus address, cut to the DMA mask. */
  private cut(offset: number): number {
    const high = (this.register(offset + 4) & Math.floor(this.dmaMask / 2 ** 32)) >>> 0;
    const low = (this.register(offset) & (this.dmaMask % 2 ** 32)) >>> 0;
    return high * 2 ** 32 + low;
  }

  private raise(events: number): void {
    this.show(this.interruptStatus | events);
    if (this.interruptStatus === 0) return;
    if (!this.endpoint.interrupts.message(0)) this.endpoint.interrupts.pin(true);
  }

  private acknowledge(events: number): void {
    this.show(this.interruptStatus & ~events);
    if (this.interruptStatus === 0) this.endpoint.interrupts.pin(false);
  }

  private show(status: number): void {
    this.interruptStatus = status >>> 0;
    this.words[word(EduRegister.INTERRUPT_STATUS)] = this.interruptStatus;
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
