/**
 * An instruction, run twice on the same registers and memory: by this processor itself, and by what
 * is done in a program's place for it.
 */
import koffi from 'koffi';
import type { Form } from '../../../src/exec/trap/x64/form.js';
import { SignalFrame } from '../../../src/exec/trap/x64/frame.js';
import { type Bus, Processor } from '../../../src/exec/trap/x64/processor.js';
import { allocateNative, mprotect, must } from '../../../src/mm/process/libc.js';

/** Bytes of a device's registers, and of the memory beside them. */
export const DEVICE_BYTES = 256;
const FXSAVE_BYTES = 512;
const XMM = 160;
export const XMM_BYTES = 256;
const PROT_ALL = 7;
const PAGE = 4096;

/** Where the stack pointer is among the registers: no instruction here may change it. */
export const RSP = 4;
const RAX = 0;

export interface State {
  /** By their number; that of rsp is not used. */
  readonly registers: BigUint64Array;
  flags: number;
  /** xmm0 to xmm15. */
  readonly vectors: Uint8Array;
  /** What the device's registers hold. */
  readonly device: Uint8Array;
  /** Memory of the program. */
  readonly memory: Uint8Array;
}

export interface Access {
  readonly kind: 'read' | 'write';
  readonly offset: number;
  readonly size: number;
  readonly value: bigint;
}

export function makeState(): State {
  return {
    registers: new BigUint64Array(16),
    flags: 0,
    vectors: new Uint8Array(XMM_BYTES),
    device: new Uint8Array(DEVICE_BYTES),
    memory: new Uint8Array(DEVICE_BYTES),
  };
}

const code = allocateNative(PAGE);
const data = allocateNative(2 * PAGE);
must('mprotect', mprotect(code.address, PAGE, PROT_ALL));
/** Places in `data`: registers, flags, FXSAVE's area, memory; the device has a page of its own. */
const REGISTERS = 0;
const FLAGS = 128;
const FLOATING = 256;
const MEMORY = 2048;
const DEVICE = PAGE;
/** Addresses of a device's registers and of memory, as instructions find them. */
export const deviceAddress = data.address + DEVICE;
export const memoryAddress = data.address + MEMORY;
const registers = new BigUint64Array(data.bytes.buffer, REGISTERS, 16);
const words = new Uint32Array(data.bytes.buffer, 0, PAGE / 4);

const call = koffi.decode(BigInt(code.address), koffi.proto('void runInstruction()')) as () => void;

function long(value: number): number[] {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return [...bytes];
}

/** mov [rax + 8n], register n; and the other way round. */
const move = (opcode: number, register: number): number[] => [
  ...[register >= 8 ? 0x4c : 0x48, opcode, 0x40 | ((register & 7) << 3), 8 * register],
];
const others = [1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const loadAddress = (address: number): number[] => [0x48, 0xb8, ...long(address)];
const saved = [0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57];
const restored = [0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b];

/** Runs an instruction on this processor: it must touch nothing but the device and the memory. */
export function runNatively(instruction: Uint8Array, state: State): void {
  registers.set(state.registers);
  words[FLAGS / 4] = state.flags;
  data.bytes.set(state.vectors, FLOATING + XMM);
  // The control words as they are after a reset.
  words[FLOATING / 4] = 0x037f;
  words[FLOATING / 4 + 6] = 0x1f80;
  data.bytes.set(state.device, DEVICE);
  data.bytes.set(state.memory, MEMORY);
  code.bytes.set([
    ...saved,
    ...loadAddress(data.address + FLOATING),
    ...[0x48, 0x0f, 0xae, 0x08], // fxrstor64 [rax]
    ...loadAddress(data.address),
    ...[0xff, 0xb0, FLAGS, 0, 0, 0, 0x9d], // push qword [rax + FLAGS]; popfq
    ...others.flatMap((register) => move(0x8b, register)),
    ...move(0x8b, RAX),
    ...instruction,
    ...[0x48, 0xa3, ...long(data.address)], // mov [registers], rax
    ...[0x9c, 0x58, 0x48, 0xa3, ...long(data.address + FLAGS)], // pushfq; pop rax; mov [flags], rax
    ...loadAddress(data.address),
    ...others.flatMap((register) => move(0x89, register)),
    0xfc, // cld
    ...loadAddress(data.address + FLOATING),
    ...[0x48, 0x0f, 0xae, 0x00], // fxsave64 [rax]
    ...restored,
    0xc3,
  ]);
  call();
  state.registers.set(registers);
  state.flags = words[FLAGS / 4]!;
  state.vectors.set(data.bytes.subarray(FLOATING + XMM, FLOATING + XMM + XMM_BYTES));
  state.device.set(data.bytes.subarray(DEVICE, DEVICE + DEVICE_BYTES));
  state.memory.set(data.bytes.subarray(MEMORY, MEMORY + DEVICE_BYTES));
}

/** A device whose registers are memory, and which writes down what it is asked. */
class NotingBus implements Bus {
  readonly words = new Uint32Array(2);
  readonly accesses: Access[] = [];
  private readonly bytes = new Uint8Array(this.words.buffer);

  constructor(
    private readonly device: Uint8Array,
    /** Of the address that was touched. */
    private readonly offset: number,
  ) {}

  read(offset: number, size: number): void {
    const at = this.offset + offset;
    this.words.fill(0);
    this.bytes.set(this.device.subarray(at, at + size));
    this.note('read', at, size);
  }

  write(offset: number, size: number): void {
    const at = this.offset + offset;
    this.device.set(this.bytes.subarray(0, size), at);
    this.note('write', at, size);
  }

  private note(kind: 'read' | 'write', offset: number, size: number): void {
    const value = new DataView(this.words.buffer).getBigUint64(0, true);
    this.accesses.push({ kind, offset, size, value: BigInt.asUintN(8 * size, value) });
  }
}

/** Where an instruction lies, by which relative operands go. */
export const RIP = 0x5555_0000_1000;
const FAULT_ADDRESS = 216 / 4;
const FLOATING_POINTER = 224 / 4;

const frame = new SignalFrame();

/**
 * Does an instruction that touched register `offset` in a program's place. Returns the accesses,
 * or null where it cannot be done.
 */
export function runInItsPlace(form: Form, state: State, offset: number): Access[] | null {
  frame.tid = process.pid;
  frame.rip = RIP;
  frame.flags = state.flags;
  for (let number = 0; number < 16; number++) {
    const value = state.registers[number]!;
    frame.setRegister(number, Number(value & 0xffffffffn), Number(value >> 32n));
  }
  setWord(FAULT_ADDRESS, deviceAddress + offset);
  setWord(FLOATING_POINTER, data.address + FLOATING);
  // Without the software's magic number FXSAVE's area is all that there is.
  data.bytes.fill(0, FLOATING, FLOATING + FXSAVE_BYTES);
  data.bytes.set(state.vectors, FLOATING + XMM);
  data.bytes.set(state.memory, MEMORY);
  const bus = new NotingBus(state.device, offset);
  const processor = new Processor(frame, bus);
  if (!processor.touches(form) || !processor.execute(form)) return null;
  if (frame.rip !== RIP + form.length) throw new Error(`rip: ${frame.rip - RIP}`);
  for (let number = 0; number < 16; number++) {
    const at = SignalFrame.word(number);
    state.registers[number] = (BigInt(frame.words[at + 1]!) << 32n) | BigInt(frame.words[at]!);
  }
  state.flags = frame.flags;
  state.vectors.set(data.bytes.subarray(FLOATING + XMM, FLOATING + XMM + XMM_BYTES));
  state.memory.set(data.bytes.subarray(MEMORY, MEMORY + DEVICE_BYTES));
  return bus.accesses;
}

function setWord(word: number, value: number): void {
  frame.words[word] = value; // stores the low 32 bits
  frame.words[word + 1] = value / 2 ** 32;
}
