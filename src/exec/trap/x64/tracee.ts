/**
 * A thread of the program that is traced for a moment (ptrace(2)), where nothing else may write to
 * its code. A debugger or tracer that is there already keeps it.
 */

import { Errno } from '../../../abi/errno.js';
import { HIGH, setLong } from '../../../abi/long.js';
import { allocateNative, errno, ptrace, waitid } from '../../../mm/process/libc.js';
import { argumentRegisters, type MapCall } from './code.js';

const Request = {
  POKEDATA: 5,
  SINGLESTEP: 9,
  GETREGS: 12,
  SETREGS: 13,
  DETACH: 17,
  SEIZE: 0x4206,
  INTERRUPT: 0x4207,
} as const;
const P_PID = 1;
const WSTOPPED = 2;
const WEXITED = 4;
/** What a wait tells stays to be told: an exit is somebody else's. */
const WNOWAIT = 0x0100_0000;
/** Threads and children of whatever kind. */
const WALL = 0x4000_0000;
/** Word of si_code in siginfo_t, and its value for a stop of a traced thread. */
const CODE = 2;
const CLD_TRAPPED = 4;

/** Words of `struct user_regs_struct` (asm/user_64.h). */
const ORIG_RAX = 15 * 2;
const RIP = 16 * 2;
const RAX = 10 * 2;
const REGISTER_WORDS = 27 * 2;
/** By the number of a general register. */
const general: Readonly<Record<number, number>> = { 0: 10, 2: 12, 6: 13, 7: 14, 8: 9, 9: 8, 10: 7 };

const memory = allocateNative(512);
const registers = new Uint32Array(memory.bytes.buffer, 0, REGISTER_WORDS);
const info = allocateNative(128);
const infoWords = new Int32Array(info.bytes.buffer, 0, 32);

export class Tracee {
  /** What it stopped with. */
  private before: Uint32Array | null = null;

  private constructor(private readonly tid: number) {}

  /**
   * Traces a thread that waits for the answer to a call: it stops once it has the answer. Null
   * where it may not be traced, or is traced already.
   */
  static seize(tid: number): Tracee | null {
    if (ptrace(Request.SEIZE, tid, 0, 0) < 0) return null;
    ptrace(Request.INTERRUPT, tid, 0, 0);
    return new Tracee(tid);
  }

  /** Waits until the thread has stopped; false: it is gone. */
  waitForStop(): boolean {
    infoWords[CODE] = 0;
    const options = WSTOPPED | WEXITED | WNOWAIT | WALL;
    while (waitid(P_PID, this.tid, info.address, options) < 0)
      if (errno() !== Errno.EINTR) return false;
    return infoWords[CODE] === CLD_TRAPPED;
  }

  /**
   * Makes a call by a `syscall` instruction at an address; returns its result, signed, or null
   * where the thread is gone.
   */
  call({ nr, arguments: values }: MapCall, instruction: number): number | null {
    if (!this.transfer(Request.GETREGS)) return null;
    this.before ??= registers.slice();
    values.forEach((value, index) => {
      setLong(registers, general[argumentRegisters[index]!]! * 2, value);
    });
    this.setPlace(instruction, nr);
    const isDone =
      this.transfer(Request.SETREGS) &&
      ptrace(Request.SINGLESTEP, this.tid, 0, 0) === 0 &&
      this.waitForStop() &&
      this.transfer(Request.GETREGS);
    return isDone ? (registers[RAX + 1]! | 0) * HIGH + registers[RAX]! : null;
  }

  /** Writes whole words of memory, whatever its protection. */
  poke(address: number, bytes: Uint8Array): boolean {
    const words = new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8);
    return words.every(
      (word, index) => ptrace(Request.POKEDATA, this.tid, address + 8 * index, word) === 0,
    );
  }

  /** Lets it go, on at this address, with rax, and its other registers as they were. */
  release(address: number, rax: number): void {
    if (this.before !== null) {
      registers.set(this.before);
      this.setPlace(address, rax);
      this.transfer(Request.SETREGS);
    }
    ptrace(Request.DETACH, this.tid, 0, 0);
  }

  private setPlace(address: number, rax: number): void {
    setLong(registers, RIP, address);
    setLong(registers, RAX, rax);
    // It is in no call that would be made again.
    registers[ORIG_RAX] = registers[ORIG_RAX + 1] = 0xffffffff;
  }

  private transfer(request: number): boolean {
    return ptrace(request, this.tid, 0, memory.address) === 0;
  }
}
