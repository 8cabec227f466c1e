/**
 * Errands: system calls that a thread of the program makes for the engine.
 *
 * A thread that waits for the answer to a call gets a SIGSEGV and an answer that it never sees: the
 * handler in the trap page runs before the program's next instruction, asks, makes the calls
 * that it is given one after the other, and returns where it is told.
 */

import { Errno } from '../../abi/errno.js';
import { SIGSEGV } from '../../abi/linux.js';
import { HIGH, putLong } from '../../abi/long.js';
import { syscall } from '../../mm/process/libc.js';
import { copyFromProcess, copyToProcess } from '../../mm/process/remote-memory.js';
import type { Listener } from '../seccomp/listener.js';
import { Answer, Request } from './x64/code.js';
import { RAX, type SignalFrame } from './x64/frame.js';

const SI_TKILL = -6;

/** A system call to make: its number and arguments; and what they point to, see `MEMORY`. */
export interface CallToMake {
  readonly nr: number;
  /** Up to six. MEMORY stands for the address of `memory`. */
  readonly arguments: readonly number[];
  /** At most 64 bytes. */
  readonly memory?: Uint8Array;
}

/** Stands for an address of memory that is free to use while the call runs. */
export const MEMORY = Number.NaN;

/** What a thread does at the end of an errand. */
export type Outcome =
  /** The call that it came from returns this: a result, or minus an errno. */
  | { readonly kind: 'return'; readonly value: number }
  /** The handler returns to what was interrupted. */
  | { readonly kind: 'resume' }
  /** The handler goes on at another address, with its own arguments. */
  | { readonly kind: 'jump'; readonly address: number };

/** Yields calls, gets their results: what the kernel puts into rax, signed. */
export type Errand = Generator<CallToMake, Outcome, number>;

interface Running {
  readonly steps: Errand;
  /** The address behind the call that waits; 0 where none does. */
  readonly returnsTo: number;
  /** The handler's ucontext, 0 until it runs. */
  context: number;
  /** The call that the handler makes, null before the first. */
  making: CallToMake | null;
}

export class Errands {
  /** By thread, the innermost last: a handler of the program's own may come between. */
  private readonly running = new Map<number, Running[]>();
  private readonly bytes = new Uint8Array(Request.MEMORY + Request.MEMORY_BYTES);
  private readonly view = new DataView(this.bytes.buffer);

  constructor(
    private readonly call: Listener,
    /** The number of tkill. */
    private readonly tkill: number,
  ) {}

  /** Sends the thread of the current call on an errand, which decides what the call returns. */
  send(steps: Errand): void {
    const { call } = this;
    const { tid } = call;
    this.push(tid, { steps, returnsTo: call.returnsTo, context: 0, making: null });
    // The signal first: it is taken before the thread's next instruction then.
    syscall(this.tkill, tid, SIGSEGV, 0, 0, 0, 0);
    call.respond(0);
  }

  /** The same for a thread that is in the handler already. */
  begin(steps: Errand, frame: SignalFrame): void {
    const running = { steps, returnsTo: 0, context: frame.context, making: null };
    this.push(frame.tid, running);
    this.go(running, frame, 0);
  }

  /** Whether the handler that asks is on an errand, or begins one; then it has its answer. */
  handle(frame: SignalFrame): boolean {
    const stack = this.running.get(frame.tid);
    if (stack === undefined) return false;
    const running = stack[stack.length - 1]!;
    if (running.context === 0) {
      // In another PID namespace the engine has no number.
      const isOurs = frame.sender === process.pid || frame.sender === 0;
      if (frame.code !== SI_TKILL || !isOurs) return false;
      running.context = frame.context;
      this.go(running, frame, 0);
      return true;
    }
    if (running.context !== frame.context) return false;
    const result = this.bytes.subarray(0, 8);
    if (!copyFromProcess(frame.tid, frame.info + Request.RESULT, result)) return this.drop(frame);
    const value = this.view.getInt32(4, true) * HIGH + this.view.getUint32(0, true);
    // A signal came before the engine had received it. No kernel interrupts a call of an errand.
    if (value === -Errno.EINTR && running.making !== null) this.make(running.making, frame);
    else this.go(running, frame, value);
    return true;
  }

  private go(running: Running, frame: SignalFrame, result: number): void {
    const { call } = this;
    const step = running.steps.next(result);
    if (step.done !== true) {
      running.making = step.value;
      this.make(step.value, frame);
      return;
    }
    this.pop(frame.tid);
    const outcome = step.value;
    if (outcome.kind === 'jump') return call.respond(outcome.address);
    if (outcome.kind === 'return') {
      // Where the signal came before the answer the kernel was about to make the call again.
      frame.rip = running.returnsTo;
      frame.setRegister(RAX, outcome.value, Math.floor(outcome.value / HIGH));
      frame.writeRegisters();
    }
    call.respond(Answer.RETURN);
  }

  private make(toMake: CallToMake, frame: SignalFrame): void {
    if (this.request(toMake, frame)) this.call.respond(Answer.CALL);
    else this.drop(frame);
  }

  private request({ nr, arguments: numbers, memory }: CallToMake, frame: SignalFrame): boolean {
    const { view, bytes } = this;
    bytes.fill(0);
    view.setUint32(Request.NUMBER, nr, true);
    numbers.forEach((number, index) => {
      const value = Number.isNaN(number) ? frame.info + Request.MEMORY : number;
      putLong(view, Request.ARGUMENTS + 8 * index, value);
    });
    bytes.set(memory ?? [], Request.MEMORY);
    return copyToProcess(frame.tid, frame.info, bytes);
  }

  /** The thread is gone, and nobody reads the answer. */
  private drop(frame: SignalFrame): true {
    this.pop(frame.tid);
    this.call.respond(Answer.RETURN);
    return true;
  }

  private push(tid: number, running: Running): void {
    const stack = this.running.get(tid);
    if (stack === undefined) this.running.set(tid, [running]);
    else stack.push(running);
  }

  private pop(tid: number): void {
    const stack = this.running.get(tid)!;
    stack.pop();
    if (stack.length === 0) this.running.delete(tid);
  }
}
