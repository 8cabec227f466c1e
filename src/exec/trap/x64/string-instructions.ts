/**
 * movs, stos, lods, cmps and scas on registers: each step is an access of its own to the device, at
 * the addresses in rsi and rdi.
 */
import { HIGH } from '../../../abi/long.js';
import { copyFromProcess, copyToProcess } from '../../../mm/process/remote-memory.js';
import { compute, Flag } from './arithmetic.js';
import type { Form } from './form.js';
import { RAX, SignalFrame } from './frame.js';
import type { Bus } from './processor.js';

type StringForm = Form & { readonly kind: 'string' };

const RCX = 1;
const RSI = 6;
const RDI = 7;
/** Steps at once; then the program runs the instruction again, and gets its signals. */
const STEPS_MAX = 1024;

/** Which of its two pointers an operation uses. */
const uses = {
  movs: { source: true, destination: true },
  stos: { source: false, destination: true },
  lods: { source: true, destination: false },
  cmps: { source: true, destination: true },
  scas: { source: false, destination: true },
} as const;

export class StringInstructions {
  private readonly bytes: Uint8Array;
  private readonly memory = new Uint32Array(2);
  private readonly memoryBytes = new Uint8Array(this.memory.buffer);

  constructor(
    private readonly frame: SignalFrame,
    private readonly bus: Bus,
  ) {
    this.bytes = new Uint8Array(bus.words.buffer, bus.words.byteOffset, 8);
  }

  touches(form: StringForm): boolean {
    const { frame } = this;
    const { source, destination } = uses[form.operation];
    const address = frame.faultAddress;
    return (
      (source && frame.register(RSI) === address) ||
      (destination && frame.register(RDI) === address)
    );
  }

  /**
   * Does the step that faulted, and those that follow it on the same page. Another that faults does
   * so in the program.
   */
  execute(form: StringForm): boolean {
    const { frame } = this;
    const { size, repeat } = form;
    const first = frame.faultAddress;
    const { source, destination } = uses[form.operation];
    const isSource = source && frame.register(RSI) === first;
    // Both in one device: which of the two areas is not known here.
    if (isSource && destination && isSamePage(frame.register(RDI), first)) return false;
    const step = (frame.flags & Flag.DIRECTION) !== 0 ? -size : size;
    for (let steps = 0; steps < STEPS_MAX; steps++) {
      const at = frame.register(isSource ? RSI : RDI);
      if (!isSamePage(at, first) || !isSamePage(at + size - 1, first)) return true;
      if (!this.step(form, isSource, at - first)) return steps > 0;
      if (source) this.advance(RSI, step);
      if (destination) this.advance(RDI, step);
      if (repeat !== 'none') this.advance(RCX, -1);
      const isZero = (frame.flags & Flag.ZERO) !== 0;
      const goesOn =
        repeat !== 'none' &&
        frame.register(RCX) !== 0 &&
        (repeat === 'rep' || (repeat === 'repe') === isZero);
      if (goesOn) continue;
      frame.rip += form.length;
      return true;
    }
    return true;
  }

  /** One step; its device operand is the source or the destination. False: no memory is there. */
  private step(form: StringForm, isSource: boolean, offset: number): boolean {
    const { frame, bus, bytes, memory } = this;
    const { size, operation } = form;
    switch (operation) {
      case 'stos':
        bus.words[0] = frame.words[SignalFrame.word(RAX)]!;
        bus.words[1] = frame.words[SignalFrame.word(RAX) + 1]!;
        bus.write(offset, size);
        return true;
      case 'lods': {
        bus.read(offset, size);
        const at = SignalFrame.word(RAX);
        if (size >= 4) {
          frame.words[at] = bus.words[0]!;
          frame.words[at + 1] = bus.words[1]!;
        } else {
          const mask = size === 1 ? 0xff : 0xffff;
          frame.words[at] = (frame.words[at]! & ~mask) | bus.words[0]!;
        }
        return true;
      }
      case 'movs':
        if (isSource) {
          const to = frame.register(RDI);
          // Looked at first: a read from the device cannot be taken back.
          if (!copyFromProcess(frame.tid, to, this.memoryBytes.subarray(0, size))) return false;
          bus.read(offset, size);
          return copyToProcess(frame.tid, to, bytes.subarray(0, size));
        }
        bus.words.fill(0);
        if (!copyFromProcess(frame.tid, frame.register(RSI), bytes.subarray(0, size))) return false;
        bus.write(offset, size);
        return true;
      default: {
        memory.fill(0);
        if (operation === 'scas')
          memory.set([
            frame.words[SignalFrame.word(RAX)]!,
            frame.words[SignalFrame.word(RAX) + 1]!,
          ]);
        else {
          const other = frame.register(isSource ? RDI : RSI);
          if (!copyFromProcess(frame.tid, other, this.memoryBytes.subarray(0, size))) return false;
        }
        bus.read(offset, size);
        const device = numberOf(bus.words, size);
        const own = numberOf(memory, size);
        const [one, two] = isSource ? [device, own] : [own, device];
        frame.flags = compute('cmp', size, one, two, frame.flags).flags;
        return true;
      }
    }
  }

  private advance(register: number, by: number): void {
    const value = this.frame.register(register) + by;
    this.frame.setRegister(register, value % HIGH, Math.floor(value / HIGH));
  }
}

function numberOf(words: Uint32Array, size: number): bigint {
  return BigInt.asUintN(8 * size, (BigInt(words[1]!) << 32n) | BigInt(words[0]!));
}

function isSamePage(one: number, other: number): boolean {
  return Math.floor(one / 4096) === Math.floor(other / 4096);
}
