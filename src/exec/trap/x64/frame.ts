/**
 * The frame of a SIGSEGV in a program's memory (struct rt_sigframe of x86-64): the saved registers,
 * what raised it, and, read in the same call, the trap state and the instruction.
 */
import { getLong, setLong } from '../../../abi/long.js';
import { PAGE_SIZE } from '../../../mm/address-space.js';
import { IovecArray } from '../../../mm/process/iovec.js';
import { allocateNative, processVmReadv, processVmWritev } from '../../../mm/process/libc.js';
import { STATE_BYTES_FIRST, TRAP_STATE } from '../trap-page.js';

/** Bytes of struct ucontext with the kernel's sigset_t, behind which siginfo lies. */
const CONTEXT_BYTES = 304;
const INFO_BYTES = 64;
/** An instruction has 15 bytes at most. */
const INSTRUCTION_BYTES = 15;

/** Words of what is read. */
const INFO = CONTEXT_BYTES / 4;
/** Where the trap state begins. */
export const STATE_WORD = INFO + INFO_BYTES / 4;
const INSTRUCTION = CONTEXT_BYTES + INFO_BYTES + STATE_BYTES_FIRST;
const BYTES = INSTRUCTION + 16;

/** General registers by their number, as words of struct ucontext: rax, rcx, rdx, rbx, rsp, … */
const GENERAL = [144, 152, 136, 128, 160, 120, 112, 104, 40, 48, 56, 64, 72, 80, 88, 96].map(
  (offset) => offset / 4,
);
const FIRST_SAVED = 40;
const RIP = 168 / 4;
const FLAGS = 176 / 4;
const END_SAVED = 184;
const ERROR = 192 / 4;
const TRAP = 200 / 4;
const FAULT_ADDRESS = 216 / 4;
const FLOATING = 224 / 4;
const MASK = 296;

/** Offset of the address that faulted, which nobody needs once the instruction is done. */
export const UNUSED_PLACE = FAULT_ADDRESS * 4;

/** x86's page fault, and the bit of its error code that says it was a write. */
const PAGE_FAULT = 14;
const WRITE_FAULT = 2;
export const RAX = 0;

export class SignalFrame {
  /** Thread whose frame this is, and the frame's ucontext and siginfo. */
  tid = 0;
  context = 0;
  info = 0;
  private readonly memory = allocateNative(PAGE_SIZE);
  /** Words of ucontext, siginfo and trap state. */
  readonly words = new Uint32Array(this.memory.bytes.buffer, 0, BYTES / 4);
  private readonly signed = new Int32Array(this.memory.bytes.buffer, 0, BYTES / 4);
  /** The instruction's bytes, and how many of them could be read. */
  readonly instruction = this.memory.bytes.subarray(INSTRUCTION, INSTRUCTION + INSTRUCTION_BYTES);
  instructionBytes = 0;
  private readonly local = new IovecArray(1);
  private readonly remote = new IovecArray(5);

  /**
   * Reads the frame of a handler that was entered with these pointers, and what belongs to it.
   * False where the thread is gone. Hot.
   */
  read(tid: number, context: number, info: number, instruction: number): boolean {
    this.tid = tid;
    this.context = context;
    this.info = info;
    const { local, remote } = this;
    local.count = remote.count = 0;
    local.push(this.memory.address, INSTRUCTION + INSTRUCTION_BYTES);
    // Each stretch costs: the kernel puts these two side by side.
    if (info === context + CONTEXT_BYTES) remote.push(context, CONTEXT_BYTES + INFO_BYTES);
    else {
      remote.push(context, CONTEXT_BYTES);
      remote.push(info, INFO_BYTES);
    }
    remote.push(TRAP_STATE, STATE_BYTES_FIRST);
    // The next page may not be there.
    const first = Math.min(INSTRUCTION_BYTES, PAGE_SIZE - (instruction % PAGE_SIZE));
    remote.push(instruction, first);
    if (first < INSTRUCTION_BYTES) remote.push(instruction + first, INSTRUCTION_BYTES - first);
    const got = processVmReadv(tid, local.address, 1, remote.address, remote.count, 0);
    this.instructionBytes = got - INSTRUCTION;
    return this.instructionBytes >= 0;
  }

  /** Keeps what was read, while another frame is; the function brings it back. */
  setAside(): () => void {
    const { tid, context, info, instructionBytes } = this;
    const words = this.words.slice();
    const instruction = this.instruction.slice();
    return () => {
      this.tid = tid;
      this.context = context;
      this.info = info;
      this.instructionBytes = instructionBytes;
      this.words.set(words);
      this.instruction.set(instruction);
    };
  }

  /** Writes the registers back, rip and the flags with them. Hot. */
  writeRegisters(): boolean {
    return this.writeBytes(FIRST_SAVED, END_SAVED - FIRST_SAVED);
  }

  /** Writes back the mask that the thread has after the handler. */
  writeMask(): boolean {
    return this.writeBytes(MASK, 8);
  }

  /** Word of `words` where a general register's low half is. */
  static word(register: number): number {
    return GENERAL[register]!;
  }

  get rip(): number {
    return getLong(this.words, RIP);
  }

  set rip(value: number) {
    setLong(this.words, RIP, value);
  }

  get flags(): number {
    return this.words[FLAGS]!;
  }

  set flags(value: number) {
    this.words[FLAGS] = value;
  }

  /** A register as an unsigned number, rounded above 2^53. */
  register(number: number): number {
    return getLong(this.words, GENERAL[number]!);
  }

  setRegister(number: number, low: number, high: number): void {
    const at = GENERAL[number]!;
    this.words[at] = low;
    this.words[at + 1] = high;
  }

  get isPageFault(): boolean {
    return this.words[TRAP] === PAGE_FAULT;
  }

  get isWrite(): boolean {
    return (this.words[ERROR]! & WRITE_FAULT) !== 0;
  }

  get faultAddress(): number {
    return getLong(this.words, FAULT_ADDRESS);
  }

  /** Address of the saved vector registers (XSAVE's standard form), 0: none. */
  get floating(): number {
    return getLong(this.words, FLOATING);
  }

  /** The mask that the thread has after the handler: a sigset_t's words. */
  get mask(): Uint32Array {
    return this.words.subarray(MASK / 4, MASK / 4 + 2);
  }

  /** si_code: above 0 where the processor raised the signal. */
  get code(): number {
    return this.signed[INFO + 2]!;
  }

  /** si_pid, of a signal that a process sent. */
  get sender(): number {
    return this.signed[INFO + 4]!;
  }

  private writeBytes(offset: number, length: number): boolean {
    const { local, remote } = this;
    local.count = remote.count = 0;
    local.push(this.memory.address + offset, length);
    remote.push(this.context + offset, length);
    return processVmWritev(this.tid, local.address, 1, remote.address, 1, 0) === length;
  }
}
