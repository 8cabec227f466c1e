import { PAGE_SIZE } from '../../mm/address-space.js';
import type { DmaPort } from '../dma-port.js';
import { ADDRESS_PAGES } from './limits.js';

/** The BAR that holds it. */
export const CMB_BAR = 2;
/** CMBLOC: that BAR from its start; PRP lists and data apart from each other and from queues. */
const CMBLOC = CMB_BAR | (1 << 5) | (1 << 6);
/** CMBSZ: queues of both kinds, lists, data in both directions; units of 4 KiB. */
const CMBSZ = 0x1f;
const SIZE_SHIFT = 12;
/** CMBMSC: CMBLOC and CMBSZ show; the buffer has addresses, from the one in the bits above on. */
const REGISTERS_SHOWN = 1;
const SPACE_ENABLED = 2;
/** CMBSTS: it cannot have the address that CMBMSC gives it. */
const BASE_INVALID = 1;

/**
 * The controller memory buffer (NVM Express 1.4, 4.7): memory in a BAR of its own that commands,
 * completions, lists and data may lie in. Where the host has given it addresses (CMBMSC), the
 * controller finds what lies there in the buffer and not on the bus.
 */
export class ControllerMemory {
  /** What CMBMSC said last, in two words. */
  low = 0;
  high = 0;
  private readonly pages: number;

  /**
   * @param bytes its size, a power of two from a page on; 0: there is none
   * @param frame of its first page
   */
  constructor(
    private readonly port: DmaPort,
    bytes: number,
    private readonly frame: number,
  ) {
    this.pages = bytes / PAGE_SIZE;
  }

  get exists(): boolean {
    return this.pages > 0;
  }

  get location(): number {
    return this.exists ? CMBLOC : 0;
  }

  get size(): number {
    return this.exists ? CMBSZ | (this.pages << SIZE_SHIFT) : 0;
  }

  /** Whether a call may read CMBLOC and CMBSZ. */
  get registersShown(): boolean {
    return (this.low & REGISTERS_SHOWN) !== 0;
  }

  /** Takes what was written to CMBMSC; returns CMBSTS. */
  control(low: number, high: number): number {
    this.low = low;
    this.high = high;
    const both = REGISTERS_SHOWN | SPACE_ENABLED;
    const first = (high >>> 0) * 2 ** 20 + (low >>> 12);
    const isEnabled = this.exists && (low & both) === both;
    const fits = first + this.pages <= ADDRESS_PAGES;
    this.port.own.place(first, isEnabled && fits ? this.pages : 0, this.frame);
    return isEnabled && !fits ? BASE_INVALID : 0;
  }
}
