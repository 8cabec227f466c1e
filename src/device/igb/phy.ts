import type { RegisterFile } from '../register-table.js';
import { Reg } from './registers.js';

/** MDIC (8.2.4). */
const DATA_MASK = 0xffff;
const REGISTER_SHIFT = 16;
const PHY_SHIFT = 21;
const FIVE_BITS = 0x1f;
const OPERATION = 0x0c000000;
const WRITE = 0x04000000;
const READY = 0x10000000;
const ERROR = 0x40000000;
/** Where the card's own PHY answers. */
const OWN_PHY = 1;

/** Registers of IEEE 802.3, clause 22. */
const PhyReg = { CONTROL: 0, STATUS: 1, PARTNER: 5, PAGE: 31 } as const;
const Control = { RESET: 0x8000, LOOPBACK: 0x4000, RESTART: 0x0200, KEPT: 0x7dc0 } as const;
const LINKED = 0x0024;
const PARTNER_ACKNOWLEDGES = 0x4000;
/** What is there after a reset, by register; the others answer with an error. */
const atReset: readonly (readonly [number, number])[] = [
  [PhyReg.CONTROL, 0x1140],
  [PhyReg.STATUS, 0x7949],
  [2, 0x02a8],
  [3, 0x0391],
  [4, 0x0de1],
  [PhyReg.PARTNER, 0x07e0],
  [6, 0x0005],
  [7, 0x2001],
  [8, 0x0000],
  [9, 0x0f00],
  [10, 0x3c00],
  [15, 0x3000],
  [16, 0x0120],
  [17, 0xc000],
  [18, 0x0000],
  [19, 0x0000],
  [25, 0x008d],
];
const writable: ReadonlySet<number> = new Set([4, 7, 9, 16, 18, 25]);

/**
 * The copper PHY behind MDIC, and with it the link. There is no clock down here: autonegotiation is
 * done when the write that starts it returns.
 */
export class Phy {
  private readonly values = new Map<number, number>(atReset);
  private isUp = false;
  private isCut = false;

  /** `linkChanged`: the link has come up, or again, or is cut. */
  constructor(
    registers: RegisterFile,
    private readonly linkChanged: () => void,
  ) {
    registers.onWrite(['MDIC'], (value) => registers.set(Reg.MDIC, this.command(value)));
  }

  reset(): void {
    this.isUp = false;
    for (const [register, value] of atReset) this.values.set(register, value);
  }

  /** The other end is gone, or there again. */
  cut(isCut: boolean): void {
    this.isCut = isCut;
    if (this.isUp) this.linkChanged();
  }

  get linkUp(): boolean {
    return this.isUp && !this.isCut;
  }

  /** Frames that are sent come back before they get to the wire. */
  get loopback(): boolean {
    return (this.values.get(PhyReg.CONTROL)! & Control.LOOPBACK) !== 0;
  }

  private command(value: number): number {
    const register = (value >>> REGISTER_SHIFT) & FIVE_BITS;
    const request = value & ~(READY | ERROR);
    if (((value >>> PHY_SHIFT) & FIVE_BITS) !== OWN_PHY) return request | READY | ERROR;
    if ((value & OPERATION) === WRITE) {
      this.write(register, value & DATA_MASK);
      const isKnown = register === PhyReg.PAGE || this.values.has(register);
      return request | READY | (isKnown ? 0 : ERROR);
    }
    const found = this.read(register);
    if (found === undefined) return (request & ~DATA_MASK) | READY | ERROR;
    return (request & ~DATA_MASK) | READY | found;
  }

  private read(register: number): number | undefined {
    const value = this.values.get(register);
    if (value === undefined || !this.linkUp) return value;
    if (register === PhyReg.STATUS) return value | LINKED;
    return register === PhyReg.PARTNER ? value | PARTNER_ACKNOWLEDGES : value;
  }

  private write(register: number, value: number): void {
    if (writable.has(register)) this.values.set(register, value);
    if (register !== PhyReg.CONTROL) return;
    this.values.set(PhyReg.CONTROL, value & Control.KEPT);
    if ((value & Control.RESTART) === 0) return;
    this.isUp = true;
    if (!this.isCut) this.linkChanged();
  }
}
