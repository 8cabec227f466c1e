import type { Interrupts } from '../pci/interrupts.js';
import type { RegisterFile } from '../register-table.js';
import { Cause, Gpie, Ivar } from './bits.js';
import { Count, QUEUES, Reg } from './registers.js';
import { Throttle } from './throttle.js';

/** MSI-X vectors; more than there are can be named in IVAR. */
export const VECTORS = 10;
/** Bits of EICR: one for each vector; without several MSI-X vectors, for queues and the timer. */
const EXTENDED_VECTORS = 0x01ffffff;
const EXTENDED_CAUSES = 0x4000ffff;
/** IVAR: a byte for each of receive queue n, transmit queue n, and both of queue n + 8. */
const QUEUES_IN_LOW_HALF = QUEUES / 2;
/** IVAR_MISC: the byte of causes that are no queue's. */
const OTHER_SHIFT = 8;

/**
 * Causes and what becomes of them (7.3): a level on the pin or one message, by ICR and IMS; or with
 * several MSI-X vectors (GPIE.Multiple_MSIX) a message for each vector, by IVAR, EICR and EIMS.
 */
export class IgbInterrupts {
  private readonly throttle: Throttle;
  /** Vectors that wait for EITR: a bit for each; the pin and MSI are vector 0. */
  private held = 0;

  /** @param nowUs the clock in microseconds; undefined: nothing is held back */
  constructor(
    private readonly registers: RegisterFile,
    private readonly lines: Interrupts,
    nowUs: (() => number) | undefined,
  ) {
    this.throttle = new Throttle(registers, nowUs);
    registers.onRead(['ICR'], (causes) => this.readCauses(causes));
    registers.onWrite(['ICR'], (value) => this.clear(Reg.ICR, value));
    registers.onWrite(['ICS'], (value) => this.raise(value & Cause.ALL));
    registers.onRead(['IMC'], () => registers.get(Reg.IMS));
    registers.onWrite(['IMS'], (value) => this.unmask(value));
    registers.onWrite(['IMC'], (value) => {
      this.clear(Reg.IMS, value);
    });
    registers.onRead(['EICR'], (causes) => {
      registers.set(Reg.EICR, 0);
      this.autoMask(causes);
      return causes;
    });
    registers.onWrite(['EICR'], (value) => this.autoMask(value));
    registers.onWrite(['EICS'], (value) => this.raiseExtended(value));
    registers.onRead(['EIMC'], () => 0);
    registers.onWrite(['EIMC'], (value) => this.clear(Reg.EIMS, value));
    registers.onWrite(['EIMS'], (value) => this.send(value & registers.get(Reg.EICR)));
  }

  reset(): void {
    this.held = 0;
    this.throttle.reset();
  }

  /** Sends what EITR has held back for long enough; false: nothing. */
  poll(): boolean {
    const { held, registers } = this;
    if (held === 0) return false;
    this.held = 0;
    if (this.isMultiple) this.send(held & registers.get(Reg.EICR));
    else this.tell(registers.get(Reg.ICR) & registers.get(Reg.IMS));
    return this.held !== held;
  }

  /** Frames came in on a queue, or descriptors of one were written back. */
  queue(index: number, isTransmit: boolean, causes: number): void {
    const { registers } = this;
    const entry = registers.get(Reg.IVAR + 4 * (index % QUEUES_IN_LOW_HALF));
    const byte = 2 * Math.floor(index / QUEUES_IN_LOW_HALF) + (isTransmit ? 1 : 0);
    this.raiseExtended(bitOf(entry >>> (8 * byte)));
    if (this.isMultiple) registers.set(Reg.ICR, registers.get(Reg.ICR) | causes);
    else this.raise(causes);
  }

  /** Sets causes. */
  raise(causes: number): void {
    const { registers } = this;
    const before = registers.get(Reg.ICR);
    const asserted = this.isMultiple || causes === 0 ? 0 : Cause.ASSERTED;
    registers.set(Reg.ICR, before | causes | asserted);
    this.tell(causes & ~before & registers.get(Reg.IMS));
  }

  private get isMultiple(): boolean {
    return (this.registers.get(Reg.GPIE) & Gpie.MULTIPLE) !== 0;
  }

  /** The pin follows ICR and IMS; `fresh` are causes that have just come. */
  private tell(fresh: number): void {
    if (this.isMultiple) {
      if (fresh !== 0) this.raiseExtended(bitOf(this.registers.get(Reg.IVAR_MISC) >>> OTHER_SHIFT));
      return;
    }
    if (fresh !== 0 && this.lines.messages && this.mayGo(0)) this.message(0);
    this.showPin();
  }

  private showPin(): void {
    const { registers } = this;
    const pending = registers.get(Reg.ICR) & registers.get(Reg.IMS);
    const level = pending !== 0 && !this.isMultiple;
    if (level && !this.lines.pinAsserted && !this.lines.messages) {
      if (!this.mayGo(0)) return;
      registers.set(Count.IAC, (registers.get(Count.IAC) + 1) >>> 0);
    }
    this.lines.pin(level);
  }

  private unmask(value: number): void {
    const { registers } = this;
    this.tell(value & registers.get(Reg.ICR) & registers.get(Reg.IMS));
  }

  /**
   * A read clears the causes, but where none was asserted, some are enabled and the driver has not
   * asked for it (GPIE.NSICR; 7.3.4.3).
   */
  private readCauses(causes: number): number {
    const { registers } = this;
    const isSelective = (registers.get(Reg.GPIE) & Gpie.NSICR) === 0;
    const keeps = isSelective && (causes & Cause.ASSERTED) === 0 && registers.get(Reg.IMS) !== 0;
    if (!keeps) registers.set(Reg.ICR, 0);
    this.showPin();
    return causes;
  }

  private clear(at: number, bits: number): void {
    this.registers.set(at, this.registers.get(at) & ~bits);
    this.showPin();
  }

  private raiseExtended(bits: number): void {
    const { registers } = this;
    const valid = bits & (this.isMultiple ? EXTENDED_VECTORS : EXTENDED_CAUSES);
    const before = registers.get(Reg.EICR);
    registers.set(Reg.EICR, before | valid);
    this.send(valid & ~before);
  }

  /** Sends the vectors of these bits of EICR that are enabled. */
  private send(bits: number): void {
    const { registers } = this;
    if (!this.isMultiple) return;
    let due = bits & registers.get(Reg.EIMS) & EXTENDED_VECTORS;
    while (due !== 0) {
      const vector = 31 - Math.clz32(due & -due);
      const bit = 1 << vector;
      due &= ~bit;
      if (!this.mayGo(vector)) continue;
      if ((registers.get(Reg.EIAC) & bit) !== 0) this.drop(Reg.EICR, bit);
      if ((registers.get(Reg.GPIE) & Gpie.EIAME) !== 0)
        this.drop(Reg.EIMS, bit & registers.get(Reg.EIAM));
      this.message(vector);
    }
  }

  /** Without GPIE.EIAME, EICR's being read or written masks. */
  private autoMask(bits: number): void {
    const { registers } = this;
    if ((registers.get(Reg.GPIE) & Gpie.EIAME) === 0)
      this.drop(Reg.EIMS, bits & registers.get(Reg.EIAM));
  }

  private drop(at: number, bits: number): void {
    this.registers.set(at, this.registers.get(at) & ~bits);
  }

  /** False: it waits until `poll` finds its time come. */
  private mayGo(vector: number): boolean {
    if (this.throttle.take(vector)) return true;
    this.held |= 1 << vector;
    return false;
  }

  private message(vector: number): void {
    if (vector < VECTORS) this.lines.message(vector);
  }
}

/** The bit of EICR that a byte of IVAR names; 0 where it is not valid. */
function bitOf(entry: number): number {
  return (entry & Ivar.VALID) === 0 ? 0 : 1 << (entry & Ivar.VECTOR);
}
