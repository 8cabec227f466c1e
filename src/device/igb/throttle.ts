import type { RegisterFile } from '../register-table.js';
import { Eitr } from './bits.js';
import { Reg } from './registers.js';

/** Interrupts that have a time of their own. */
const INTERRUPTS = 25;
const COUNTER_UNIT = 4;

/**
 * EITR (7.3.4, 8.8.14): after an interrupt, the next one of its vector waits for the interval.
 * Without a clock no interval takes time.
 */
export class Throttle {
  /** When the next one may go, in microseconds. */
  private readonly freeUs = new Float64Array(INTERRUPTS);

  /** @param nowUs the clock in microseconds */
  constructor(
    private readonly registers: RegisterFile,
    private readonly nowUs: (() => number) | undefined,
  ) {
    registers.onWrite(['EITR'], (value, index) => this.written(value, index));
  }

  reset(): void {
    this.freeUs.fill(0);
  }

  /** An interrupt goes now; false: it has to wait. */
  take(vector: number): boolean {
    const value = this.registers.get(Reg.EITR + 4 * vector);
    const interval = (value >>> Eitr.INTERVAL_SHIFT) & Eitr.INTERVAL_MASK;
    if (this.nowUs === undefined || (interval === 0 && this.freeUs[vector] === 0)) return true;
    const now = this.nowUs();
    if (now < this.freeUs[vector]!) return false;
    this.freeUs[vector] = interval === 0 ? 0 : now + interval;
    return true;
  }

  /** What is left of an interval is written with it, unless CNT_INGR says to keep that. */
  private written(value: number, index: number): void {
    if (this.nowUs === undefined || (value & Eitr.KEEP_COUNTER) !== 0) return;
    const left = (value >>> Eitr.COUNTER_SHIFT) & Eitr.COUNTER_MASK;
    this.freeUs[index] = left === 0 ? 0 : this.nowUs() + left * COUNTER_UNIT;
  }
}
