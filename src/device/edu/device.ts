import type { AllocateDma, DmaBuffer } from '../../mm/frame-memory.js';
import type { PciDevice } from '../pci/device.js';
import type { PciEndpoint } from '../pci/endpoint.js';
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
 * QEMU's teaching device. There is no clock down here, so a factorial and a DMA transfer are complete when the write that
 * starts them returns; a program that spins on STATUS or DMA_COMMAND finds them idle at its first look.
 *
 * The registers live in the BAR's memory, which a program may map. A plain page cannot trap, so `poll` finds what was
 * written by comparing, and that is exact where the device gives its answer by changing the same register:
 * - DMA_COMMAND: the program sets START and the device clears it when done, as on the real device.
 * - INTERRUPT_RAISE and INTERRUPT_ACKNOWLEDGE are zero again once taken, so the same value can come twice; what is written
 *   twice between two polls counts once.
 * - LIVENESS and FACTORIAL answer at the next poll: a program that maps them waits for the value, not for STATUS, and a
 *   write of what the register shows is not seen.
 * A program that needs each access to count uses pread and pwrite, or the device is made with `mmap=off`.
 */
export class EduDevice implements PciDevice {
  readonly #endpoint: PciEndpoint;
  readonly #dmaMask: number;
  readonly #words: Uint32Array;
  readonly #buffer: DmaBuffer;
  #liveness = 0;
  #factorial = 0;
  #interruptStatus = 0;

  /** `dmaMask`: addresses on the bus are cut to it; 2^n - 1, below 2^53. */
  constructor(endpoint: PciEndpoint, allocate: AllocateDma, dmaMask = EDU_DMA_MASK) {
    this.#buffer = allocate(EDU_BUFFER_BYTES);
    this.#endpoint = endpoint;
    this.#dmaMask = dmaMask;
    const { bytes } = endpoint.barMemory(0);
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, word(EduRegister.END));
  }

  reset(): void {
    this.#words.fill(0);
    this.#words[word(EduRegister.IDENTIFICATION)] = EDU_IDENTIFICATION;
    this.#liveness = 0;
    this.#factorial = 0;
    this.#interruptStatus = 0;
    this.#buffer.bytes.fill(0);
  }

  read(_bar: number, offset: number, size: number): number {
    if (size !== 4) return 0;
    this.poll();
    switch (offset) {
      case EduRegister.IDENTIFICATION:
        return EDU_IDENTIFICATION;
      case EduRegister.INTERRUPT_STATUS:
        return this.#interruptStatus;
      case EduRegister.LIVENESS:
      case EduRegister.FACTORIAL:
      case EduRegister.STATUS:
        return this.#words[word(offset)]!;
      default:
        return offset >= EduRegister.DMA_SOURCE && offset < EduRegister.END
          ? this.#words[word(offset)]!
          : NO_REGISTER;
    }
  }

  write(_bar: number, offset: number, size: number, value: number): void {
    if (size !== 4) return;
    this.poll();
    switch (offset) {
      case EduRegister.LIVENESS:
        this.#answerLiveness(value);
        break;
      case EduRegister.FACTORIAL:
        this.#compute(value);
        break;
      case EduRegister.STATUS:
        this.#words[word(offset)] = value & EDU_STATUS_INTERRUPT;
        break;
      case EduRegister.INTERRUPT_RAISE:
        this.#raise(value);
        break;
      case EduRegister.INTERRUPT_ACKNOWLEDGE:
        this.#acknowledge(value);
        break;
      default:
        if (offset < EduRegister.DMA_SOURCE || offset >= EduRegister.END) break;
        this.#words[word(offset)] = value;
        this.poll();
    }
  }

  /** The DMA registers are of 64 bits, all others of 32. */
  takesWide(_bar: number, offset: number): boolean {
    return offset >= EduRegister.DMA_SOURCE;
  }

  poll(): boolean {
    const words = this.#words;
    let found = false;
    if (words[word(EduRegister.LIVENESS)] !== this.#liveness) {
      this.#answerLiveness(words[word(EduRegister.LIVENESS)]!);
      found = true;
    }
    if (words[word(EduRegister.FACTORIAL)] !== this.#factorial) {
      this.#compute(words[word(EduRegister.FACTORIAL)]!);
      found = true;
    }
    const raised = words[word(EduRegister.INTERRUPT_RAISE)]!;
    if (raised !== 0) {
      words[word(EduRegister.INTERRUPT_RAISE)] = 0;
      this.#raise(raised);
      found = true;
    }
    const acknowledged = words[word(EduRegister.INTERRUPT_ACKNOWLEDGE)]!;
    if (acknowledged !== 0) {
      words[word(EduRegister.INTERRUPT_ACKNOWLEDGE)] = 0;
      this.#acknowledge(acknowledged);
      found = true;
    }
    const command = words[word(EduRegister.DMA_COMMAND)]!;
    if ((command & EduDma.START) !== 0) {
      this.#transfer(command);
      found = true;
    }
    return found;
  }

  #answerLiveness(value: number): void {
    this.#liveness = ~value >>> 0;
    this.#words[word(EduRegister.LIVENESS)] = this.#liveness;
  }

  /** Modulo 2^32, which is 0 from 34! on. */
  #compute(value: number): void {
    let product = value < 34 ? 1 : 0;
    for (let factor = value; product !== 0 && factor > 1; factor--) product = Math.imul(product, factor);
    this.#factorial = product >>> 0;
    this.#words[word(EduRegister.FACTORIAL)] = this.#factorial;
    if ((this.#words[word(EduRegister.STATUS)]! & EDU_STATUS_INTERRUPT) !== 0)
      this.#raise(EduEvent.FACTORIAL);
  }

  /** Done whether or not the bus took it: a read that is refused gives zeros, a write is dropped; START is clear after it. */
  #transfer(command: number): void {
    const count = this.#long(EduRegister.DMA_COUNT);
    const toMemory = (command & EduDma.TO_MEMORY) !== 0;
    const inside = this.#long(toMemory ? EduRegister.DMA_SOURCE : EduRegister.DMA_DESTINATION) - EDU_BUFFER;
    const outside = this.#cut(toMemory ? EduRegister.DMA_DESTINATION : EduRegister.DMA_SOURCE);
    // A transfer that leaves the internal buffer does nothing (QEMU ends there).
    if (inside >= 0 && inside + count <= EDU_BUFFER_BYTES) {
      const { dma } = this.#endpoint;
      if (toMemory) dma.writeRange(outside, count, this.#buffer, inside);
      else {
        this.#buffer.bytes.fill(0, inside, inside + count);
        dma.readRange(outside, count, this.#buffer, inside);
      }
    }
    this.#words[word(EduRegister.DMA_COMMAND)] = command & ~EduDma.START;
    if ((command & EduDma.INTERRUPT) !== 0) this.#raise(EduEvent.DMA);
  }

  #long(offset: number): number {
    return this.#words[word(offset + 4)]! * 2 ** 32 + this.#words[word(offset)]!;
  }

  /** A bus address, cut to the DMA mask. */
  #cut(offset: number): number {
    const high = (this.#words[word(offset + 4)]! & Math.floor(this.#dmaMask / 2 ** 32)) >>> 0;
    const low = (this.#words[word(offset)]! & (this.#dmaMask % 2 ** 32)) >>> 0;
    return high * 2 ** 32 + low;
  }

  #raise(events: number): void {
    this.#show(this.#interruptStatus | events);
    if (this.#interruptStatus === 0) return;
    if (!this.#endpoint.interrupts.message(0)) this.#endpoint.interrupts.pin(true);
  }

  #acknowledge(events: number): void {
    this.#show(this.#interruptStatus & ~events);
    if (this.#interruptStatus === 0) this.#endpoint.interrupts.pin(false);
  }

  #show(status: number): void {
    this.#interruptStatus = status >>> 0;
    this.#words[word(EduRegister.INTERRUPT_STATUS)] = this.#interruptStatus;
  }
}
