/**
 * A device's registers of 32 bits, each written down once: where it is, what it is called, what it
 * holds after a reset, which bits a write changes and what an access does. A `RegisterTable` is
 * that list, shared by all devices of a kind; a `RegisterFile` is the values of one device.
 */
import { Bug } from '../abi/bug.js';

/** What an access does to a register. */
export type RegisterRule =
  /** A write changes the bits of the mask. */
  | 'rw'
  /** Writes are lost. */
  | 'ro'
  /** Reads as 0; a write is told to the device, and nothing is kept. */
  | 'wo'
  /** A read leaves 0; writes are lost. */
  | 'rc'
  /** A write sets the bits in which it has a one. */
  | 'w1s'
  /** A write clears the bits in which it has a one. */
  | 'w1c';

export interface RegisterRow {
  readonly name: string;
  /** What it is for, for the documentation. */
  readonly about?: string;
  /** Bytes from the start of the BAR; of an array, of its first register. */
  readonly offset: number;
  /** `rw` unless given. */
  readonly rule?: RegisterRule;
  /** Bits that a write changes; all unless given. */
  readonly mask?: number;
  /** 0 unless given; of an array also a list, whose last value goes for all that follow. */
  readonly reset?: number | readonly number[];
  /** Registers of an array, and bytes from one to the next (4 unless given). */
  readonly count?: number;
  readonly stride?: number;
  /** Another address of the array's first `count` registers. */
  readonly also?: { readonly offset: number; readonly count?: number; readonly stride?: number };
}

/** An offset that is no register: reads as 0, writes are lost. */
const NONE = -1;

export class RegisterTable {
  /** Of each word of the BAR: the word where its register is kept, or NONE. */
  private readonly home: Int32Array;
  /** Of each word that is a register's home. */
  private readonly rowOf: Int16Array;

  /** `bytes`: size of the BAR. */
  constructor(
    readonly rows: readonly RegisterRow[],
    readonly bytes: number,
  ) {
    this.home = new Int32Array(bytes / 4).fill(NONE);
    this.rowOf = new Int16Array(bytes / 4).fill(NONE);
    rows.forEach((row, index) => {
      for (let n = 0; n < (row.count ?? 1); n++) {
        const word = (row.offset + n * (row.stride ?? 4)) / 4;
        this.claim(word, word, row);
        this.rowOf[word] = index;
      }
      const { also } = row;
      for (let n = 0; also !== undefined && n < (also.count ?? row.count ?? 1); n++) {
        const word = (also.offset + n * (also.stride ?? row.stride ?? 4)) / 4;
        this.claim(word, (row.offset + n * (row.stride ?? 4)) / 4, row);
      }
    });
  }

  /** Where the register at `offset`, by any of its addresses, is kept: an offset, or -1. */
  at(offset: number): number {
    const home = this.home[offset >>> 2] ?? NONE;
    return home < 0 ? NONE : home * 4;
  }

  /** The row of the register that is kept at `at`. */
  row(at: number): RegisterRow {
    return this.rows[this.rowOf[at >>> 2]!]!;
  }

  /** Which of an array's registers is kept at `at`. */
  index(at: number): number {
    const row = this.row(at);
    return (at - row.offset) / (row.stride ?? 4);
  }

  /** `RDT[3]`; the offset in hexadecimal where there is no register. */
  name(offset: number): string {
    const at = this.at(offset);
    if (at < 0) return `0x${offset.toString(16).padStart(5, '0')}`;
    const row = this.row(at);
    return row.count === undefined ? row.name : `${row.name}[${this.index(at)}]`;
  }

  private claim(word: number, home: number, row: RegisterRow): void {
    if (this.home[word] !== NONE)
      throw new Bug('two registers at one address', { name: row.name, offset: word * 4 });
    this.home[word] = home;
  }
}

/** Is told of a write, after the register's rule: `value` is what was written. */
export type WriteHook = (value: number, index: number) => void;
/** Gives what a read finds; `kept` is the value before its rule, unsigned. */
export type ReadHook = (kept: number, index: number) => number;

/** The values of a device's registers. */
export class RegisterFile {
  private readonly values: Uint32Array;
  private readonly writeHooks = new Map<RegisterRow, WriteHook>();
  private readonly readHooks = new Map<RegisterRow, ReadHook>();
  private readonly named = new Map<string, RegisterRow>();

  constructor(readonly table: RegisterTable) {
    this.values = new Uint32Array(table.bytes / 4);
    for (const row of table.rows) this.named.set(row.name, row);
    this.reset();
  }

  /** Every register as after power-on, but for those of which `keeps` says true. */
  reset(keeps?: (name: string) => boolean): void {
    for (const row of this.table.rows) {
      if (keeps?.(row.name)) continue;
      const { reset = 0 } = row;
      for (let n = 0; n < (row.count ?? 1); n++)
        this.values[(row.offset + n * (row.stride ?? 4)) >>> 2] =
          typeof reset === 'number' ? reset : reset[Math.min(n, reset.length - 1)]!;
    }
  }

  onWrite(names: readonly string[], hook: WriteHook): void {
    for (const name of names) this.writeHooks.set(this.find(name), hook);
  }

  onRead(names: readonly string[], hook: ReadHook): void {
    for (const name of names) this.readHooks.set(this.find(name), hook);
  }

  /** What a register holds, by the offset where it is kept; the device's own look. Hot. */
  get(at: number): number {
    return this.values[at >>> 2]!;
  }

  /** The device's own change. Hot. */
  set(at: number, value: number): void {
    this.values[at >>> 2] = value;
  }

  /** A program's read of the 32 bits at `offset`; unsigned. */
  read(offset: number): number {
    const at = this.table.at(offset);
    if (at < 0) return 0;
    const row = this.table.row(at);
    const kept = this.get(at);
    const hook = this.readHooks.get(row);
    const found = hook ? hook(kept, this.table.index(at)) >>> 0 : row.rule === 'wo' ? 0 : kept;
    if (row.rule === 'rc') this.set(at, 0);
    return found;
  }

  /** A program's write. `lanes`: ones in the bytes that it writes, where those are not all. */
  write(offset: number, value: number, lanes = 0xffffffff): void {
    const at = this.table.at(offset);
    if (at < 0) return;
    const row = this.table.row(at);
    const mask = (row.mask ?? 0xffffffff) & lanes;
    const kept = this.get(at);
    switch (row.rule ?? 'rw') {
      case 'rw':
        this.set(at, (kept & ~mask) | (value & mask));
        break;
      case 'w1s':
        this.set(at, kept | (value & mask));
        break;
      case 'w1c':
        this.set(at, kept & ~(value & mask));
        break;
    }
    this.writeHooks.get(row)?.(value, this.table.index(at));
  }

  private find(name: string): RegisterRow {
    const row = this.named.get(name);
    if (row === undefined) throw new Bug('no such register', { name });
    return row;
  }
}
