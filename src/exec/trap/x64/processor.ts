/**
 * Does an instruction in the program's place: its accesses to the device, in the order and of the
 * sizes that a bus would see, and what it does to the saved registers.
 */

import { HIGH } from '../../../abi/long.js';
import { compute, computeBit, computeUnary, Flag, holds } from './arithmetic.js';
import type { Form, GeneralRegister, Operand } from './form.js';
import { RAX, SignalFrame } from './frame.js';
import { StringInstructions } from './string-instructions.js';
import { VectorRegisters } from './vector-registers.js';

/** The widest access of a bus. */
const WIDEST = 8;

/** The device's side of an access: offsets are bytes from the address that was touched. */
export interface Bus {
  /** What was read, or is to be written: a number of up to 8 bytes, as words. */
  readonly words: Uint32Array;
  /** Reads `size` bytes (1, 2, 4, 8) to `words`; what lies above them is 0. */
  read(offset: number, size: number): void;
  write(offset: number, size: number): void;
}

export class Processor {
  private readonly vectors = new VectorRegisters();
  private readonly strings: StringInstructions;
  private readonly bytes: Uint8Array;
  private readonly vectorBytes = new Uint8Array(64);
  /** What `operand` found. */
  private low = 0;
  private high = 0;

  constructor(
    private readonly frame: SignalFrame,
    private readonly bus: Bus,
  ) {
    this.bytes = new Uint8Array(bus.words.buffer, bus.words.byteOffset, WIDEST);
    this.strings = new StringInstructions(frame, bus);
  }

  /**
   * Whether the form touches the address at which the fault was; else it is no access that
   * is known here.
   */
  touches(form: Form): boolean {
    if (form.kind === 'string') return this.strings.touches(form);
    const { words } = this.frame;
    const [low, high] = form.displacement;
    let address = low;
    let upper = high;
    // Sums of three numbers below 2^35 are exact; what is above 64 bits goes.
    if (form.isRelative) {
      const { rip } = this.frame;
      address += rip % HIGH;
      upper += Math.floor(rip / HIGH);
    }
    if (form.base >= 0) {
      const at = SignalFrame.word(form.base);
      address += words[at]!;
      upper += words[at + 1]!;
    }
    if (form.index >= 0) {
      const at = SignalFrame.word(form.index);
      address += words[at]! * form.scale;
      upper += words[at + 1]! * form.scale;
    }
    upper = (upper + Math.floor(address / HIGH)) % HIGH;
    return upper * HIGH + (address % HIGH) === this.frame.faultAddress;
  }

  /** False: the form cannot be done here, and nothing has been done. Hot. */
  execute(form: Form): boolean {
    const { frame, bus } = this;
    switch (form.kind) {
      case 'load':
        bus.read(0, form.size);
        if (form.isReversed) this.reverse(form.size);
        if (form.isSigned) this.extend(form.size);
        if (form.condition < 0 || holds(form.condition, frame.flags))
          this.setRegister(form.to, form.width);
        // Where the condition does not hold, 32 bits are written all the same (Intel SDM, CMOVcc).
        else if (form.width === 4) frame.words[SignalFrame.word(form.to.number) + 1] = 0;
        break;
      case 'store':
        this.fetch(form.from);
        bus.words[0] = this.low;
        bus.words[1] = this.high;
        if (form.isReversed) this.reverse(form.size);
        bus.write(0, form.size);
        break;
      case 'string':
        return this.strings.execute(form);
      case 'vector load':
      case 'vector store':
        if (!this.moveVector(form)) return false;
        break;
      default:
        this.compute(form);
    }
    frame.rip += form.length;
    return true;
  }

  private compute(form: Form): void {
    const { frame, bus } = this;
    const { size } = form;
    if (form.kind === 'set') {
      bus.words[0] = holds(form.condition, frame.flags) ? 1 : 0;
      return bus.write(0, 1);
    }
    bus.read(0, size);
    const memory = this.busValue;
    switch (form.kind) {
      case 'arithmetic': {
        const { operation, to } = form;
        const other = this.value(form.other, size);
        const [one, two] = to === 'memory' ? [memory, other] : [other, memory];
        const { value, flags } = compute(operation, size, one, two, frame.flags);
        frame.flags = flags;
        if (operation === 'cmp' || operation === 'test') return;
        this.busValue = value;
        if (to === 'memory') bus.write(0, size);
        else this.setRegister(form.other as GeneralRegister, size);
        return;
      }
      case 'unary': {
        const { value, flags } = computeUnary(form.operation, size, memory, frame.flags);
        frame.flags = flags;
        this.busValue = value;
        return bus.write(0, size);
      }
      case 'bit': {
        const bit = this.value(form.bit, size);
        const { value, flags } = computeBit(form.operation, size, memory, bit, frame.flags);
        frame.flags = flags;
        if (form.operation === 'bt') return;
        this.busValue = value;
        return bus.write(0, size);
      }
      case 'exchange':
        return this.exchange(form, memory);
    }
  }

  private exchange(form: Form & { kind: 'exchange' }, memory: bigint): void {
    const { frame, bus } = this;
    const { size, operation } = form;
    const own = this.value(form.with, size);
    if (operation === 'cmpxchg') {
      const accumulator: GeneralRegister = { kind: 'register', number: RAX, isHighByte: false };
      const expected = this.value(accumulator, size);
      frame.flags = compute('cmp', size, expected, memory, frame.flags).flags;
      const isEqual = (frame.flags & Flag.ZERO) !== 0;
      // It writes in either case: what was there, if not its own.
      this.busValue = isEqual ? own : memory;
      bus.write(0, size);
      if (!isEqual) this.setRegister(accumulator, size);
      return;
    }
    let written = own;
    if (operation === 'xadd') {
      const sum = compute('add', size, memory, own, frame.flags);
      frame.flags = sum.flags;
      written = sum.value;
    }
    this.busValue = written;
    bus.write(0, size);
    this.busValue = memory;
    this.setRegister(form.with, size);
  }

  private moveVector(form: Form & { kind: 'vector load' | 'vector store' }): boolean {
    const { frame, bus, vectors, bytes } = this;
    const moved = this.vectorBytes.subarray(0, form.size);
    if (!vectors.read(frame.tid, frame.floating)) return false;
    if (!vectors.get(form.vector, form.at, moved)) return false;
    const isLoad = form.kind === 'vector load';
    for (let done = 0; done < form.size; done += WIDEST) {
      const piece = Math.min(WIDEST, form.size - done);
      if (isLoad) {
        bus.read(done, piece);
        moved.set(bytes.subarray(0, piece), done);
      } else {
        bus.words.fill(0);
        bytes.set(moved.subarray(done, done + piece));
        bus.write(done, piece);
      }
    }
    if (isLoad) {
      vectors.set(form.vector, form.at, moved, form.clearedTo);
      vectors.write();
    }
    return true;
  }

  private get busValue(): bigint {
    const { words } = this.bus;
    return (BigInt(words[1]!) << 32n) | BigInt(words[0]!);
  }

  private set busValue(value: bigint) {
    this.bus.words[0] = Number(value & 0xffffffffn);
    this.bus.words[1] = Number(value >> 32n);
  }

  private value(operand: Operand, size: number): bigint {
    this.fetch(operand);
    return BigInt.asUintN(8 * size, (BigInt(this.high) << 32n) | BigInt(this.low));
  }

  /** Puts an operand into `low` and `high`; bits above its size are anything. */
  private fetch(operand: Operand): void {
    if (operand.kind === 'immediate') {
      this.low = operand.low;
      this.high = operand.high;
      return;
    }
    const { words } = this.frame;
    const at = SignalFrame.word(operand.number);
    this.low = operand.isHighByte ? words[at]! >>> 8 : words[at]!;
    this.high = words[at + 1]!;
  }

  /** Writes the bus's words to a register, of which `width` bytes are named. */
  private setRegister({ number, isHighByte }: GeneralRegister, width: number): void {
    const { words } = this.frame;
    const low = this.bus.words[0]!;
    const high = this.bus.words[1]!;
    const at = SignalFrame.word(number);
    if (width === 8) {
      words[at] = low;
      words[at + 1] = high;
    } else if (width === 4) {
      words[at] = low;
      words[at + 1] = 0;
    } else {
      const shift = isHighByte ? 8 : 0;
      const mask = (width === 1 ? 0xff : 0xffff) << shift;
      words[at] = (words[at]! & ~mask) | ((low << shift) & mask);
    }
  }

  /** Sign-extends the bus's words from `size` bytes to 8. */
  private extend(size: number): void {
    const { words } = this.bus;
    if (size < 4) words[0] = (words[0]! << (32 - 8 * size)) >> (32 - 8 * size);
    if (size < 8) words[1] = (words[0]! | 0) < 0 ? 0xffffffff : 0;
  }

  private reverse(size: number): void {
    this.bytes.subarray(0, size).reverse();
  }
}

/** Whether a form writes to its memory operand. */
export function isStore(form: Form): boolean {
  switch (form.kind) {
    case 'load':
    case 'vector load':
      return false;
    case 'arithmetic':
      return form.to === 'memory' && form.operation !== 'cmp' && form.operation !== 'test';
    case 'bit':
      return form.operation !== 'bt';
    case 'string':
      // Which pointer faulted, the processor has said.
      return false;
    default:
      return true;
  }
}
