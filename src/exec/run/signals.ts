/**
 * Signals to iopf while a program runs. The engine's thread blocks in poll(2), so Node cannot
 * handle them there: handlers in machine code write their numbers to a pipe that the engine
 * watches.
 *
 * A signal that asks to end also starts two timers, which the engine stops. Where the engine hangs,
 * in a file of the host or in a device, the longer one ends iopf, or the next such signal once the
 * shorter one has run out, and the guard all that is left. Two signals at once are one: timeout(1)
 * sends its own twice.
 */

import { constants } from 'node:os';
import { O_CLOEXEC, O_NONBLOCK, SIG_BLOCK, SIG_SETMASK } from '../../abi/linux.js';
import {
  allocateNative,
  eventfd,
  kill,
  must,
  pipe2,
  pthreadSigmask,
  read,
  setitimer,
  sigaction,
  timerfdCreate,
  timerfdSettime,
  write,
} from '../../mm/process/libc.js';
import type { Architecture } from '../arch/index.js';
import { type Call, CallList } from '../process/call-list.js';
import type { Child } from '../process/child.js';
import { loadHandlers, type SignalHandler } from '../process/native-code.js';
import { isInForeground } from './host-machine.js';

const { SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGSTOP, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2 } =
  constants.signals;
/** What a terminal sends to the whole foreground group: the program gets its own then. */
const interrupts: readonly number[] = [SIGINT, SIGQUIT];
const ending: readonly number[] = [...interrupts, SIGTERM, SIGHUP];
const others: readonly number[] = [SIGUSR1, SIGUSR2, SIGTSTP];
/** So long an engine that was asked to end may be still before it is given up. */
const STUCK_SECONDS = 3;
/** From then on another signal ends it at once. */
const IMPATIENT_NANOSECONDS = 500_000_000;
const STUCK_TEXT =
  'iopf: the engine does not answer: a file of the host or a device takes its time; ended\n';
const STDERR = 2;

// struct sigaction of libc, on both architectures: handler, sigset_t, flags, restorer.
const ACTION_BYTES = 152;
const ACTION_FLAGS_AT = 136;
const MASK_BYTES = 128;
const SA_RESTART = 0x10000000;
const ITIMER_REAL = 0;
const CLOCK_MONOTONIC = 1;
const EVENT_FLAGS = O_CLOEXEC | O_NONBLOCK;
/** What a read of an eventfd or a timerfd gives. */
const EVENT_BYTES = 8;
/** struct itimerval, struct itimerspec */
const TIMER_BYTES = 32;
const LIST_BYTES = 256;
const READ_BYTES = 64;

const stopped = allocateNative(TIMER_BYTES);
const scratch = allocateNative(EVENT_BYTES);

/** What handlers and engine share. Nothing of it is ever closed: a handler may be at work. */
export interface SignalFds {
  /** Where the numbers can be read, a byte each. */
  readonly pipe: number;
  /** An eventfd, of which the first signal takes the 1: later ones do not start the timers anew. */
  readonly first: number;
  /** A timerfd, which can be read once the engine has not taken the first for too long. */
  readonly impatient: number;
}

/** The handlers of this process, as long as a program runs. */
export class SignalPipe {
  readonly fds: SignalFds;
  private readonly before = new Map<number, number>();
  private readonly maskBefore = allocateNative(MASK_BYTES).address;

  /**
   * `isEngineThread`: the caller's is the thread that may hang. Another of Node's threads then
   * takes the signals that ask to end.
   */
  constructor({ code, nr }: Architecture, isEngineThread: boolean) {
    const pipe = allocateNative(8);
    must('pipe2', pipe2(pipe.address, O_CLOEXEC | O_NONBLOCK));
    const [fd, writeFd] = [...new Int32Array(pipe.bytes.buffer, 0, 2)] as [number, number];
    const first = must('eventfd', eventfd(1, EVENT_FLAGS));
    const impatient = must('timerfd_create', timerfdCreate(CLOCK_MONOTONIC, EVENT_FLAGS));
    this.fds = { pipe: fd, first, impatient };

    const giveUp = new CallList(2, LIST_BYTES);
    const lastWords = giveUp.call(nr.write, STDERR, giveUp.text(STUCK_TEXT), STUCK_TEXT.length);
    const exit = giveUp.call(nr.exit_group, 0);
    const pass = (signal: number, asksToEnd: boolean): SignalHandler => {
      const list = new CallList(5, LIST_BYTES);
      const tell = (): Call => list.call(nr.write, writeFd, list.data([signal]), 1);
      if (!asksToEnd) {
        tell();
        return { at: list.words(0), value: 0, list };
      }
      const isLate = list.call(nr.read, impatient, list.words(0), EVENT_BYTES);
      const isFirst = list.call(nr.read, first, list.words(0), EVENT_BYTES);
      // Before the engine is told: it must not stop them before they have started.
      list.call(nr.setitimer, ITIMER_REAL, list.words(0, 0, STUCK_SECONDS, 0), 0);
      const soon = list.words(0, 0, 0, IMPATIENT_NANOSECONDS);
      list.call(nr.timerfd_settime, impatient, 0, soon, 0);
      const told = tell();
      isLate.onError(isFirst);
      isLate.follow(lastWords);
      isFirst.onError(told);
      return { at: exit.argumentAt(0), value: 128 + signal, list };
    };
    const nothing = { at: giveUp.words(0), value: 0 };
    const handlers: readonly [signal: number, SignalHandler][] = [
      ...ending.map((signal) => [signal, pass(signal, true)] as [number, SignalHandler]),
      ...others.map((signal) => [signal, pass(signal, false)] as [number, SignalHandler]),
      [SIGALRM, { ...nothing, list: giveUp }],
    ];
    const addresses = loadHandlers(
      code,
      handlers.map(([, handler]) => handler),
    );
    for (const [index, [signal]] of handlers.entries()) this.handle(signal, addresses[index]!);
    const blocked = isEngineThread ? [...ending, SIGALRM] : [];
    pthreadSigmask(SIG_BLOCK, maskOf(blocked), this.maskBefore);
  }

  /** Signals are Node's again. */
  close(): void {
    rest(this.fds);
    for (const [signal, action] of this.before) sigaction(signal, action, 0);
    pthreadSigmask(SIG_SETMASK, this.maskBefore, 0);
  }

  private handle(signal: number, address: number): void {
    const action = allocateNative(2 * ACTION_BYTES);
    const view = new DataView(action.bytes.buffer);
    view.setBigUint64(0, BigInt(address), true);
    view.setUint32(ACTION_FLAGS_AT, SA_RESTART, true);
    const before = action.address + ACTION_BYTES;
    must('sigaction', sigaction(signal, action.address, before));
    this.before.set(signal, before);
  }
}

/** A sigset_t of these signals. */
function maskOf(signals: readonly number[]): number {
  const { address, bytes } = allocateNative(MASK_BYTES);
  for (const signal of signals) bytes[(signal - 1) >> 3]! |= 1 << ((signal - 1) & 7);
  return address;
}

/** Nothing is asked any more, or not yet. */
function rest({ first, impatient }: SignalFds): void {
  setitimer(ITIMER_REAL, stopped.address, 0);
  timerfdSettime(impatient, 0, stopped.address, 0);
  // The 1 is there again, whether or not a signal has taken it.
  read(first, scratch.address, EVENT_BYTES);
  new DataView(scratch.bytes.buffer).setUint32(0, 1, true);
  write(first, scratch.address, EVENT_BYTES);
}

/** The side of an engine without a program: whether it was asked to end. */
export class EndRequests {
  private readonly memory = allocateNative(READ_BYTES);

  constructor(private readonly fds: SignalFds) {}

  /** Takes what has come. True: the run must end. */
  take(): boolean {
    const count = read(this.fds.pipe, this.memory.address, READ_BYTES);
    rest(this.fds);
    const signals = [...this.memory.bytes.slice(0, Math.max(count, 0))];
    if (signals.includes(SIGTSTP)) kill(process.pid, SIGSTOP);
    return signals.some((signal) => ending.includes(signal));
  }
}

/** The engine's side: passes the signals on to the program. */
export class SignalRelay {
  private readonly memory = allocateNative(READ_BYTES);

  constructor(
    private readonly fds: SignalFds,
    private readonly program: Child,
  ) {}

  /**
   * Takes what has come. True: the run must end, because the program has, and only others are
   * served.
   */
  take(): boolean {
    const count = read(this.fds.pipe, this.memory.address, READ_BYTES);
    // What has not been read is still there and will be; its timers may start anew.
    rest(this.fds);
    let stop = false;
    for (const signal of this.memory.bytes.slice(0, Math.max(count, 0)))
      if (this.pass(signal)) stop = true;
    return stop;
  }

  private pass(signal: number): boolean {
    // A job that is stopped must stop as a whole, or the shell waits for it.
    if (signal === SIGTSTP) kill(process.pid, SIGSTOP);
    else if (this.program.reap(false) !== null) return ending.includes(signal);
    // A terminal tells the whole foreground group, others tell iopf alone.
    else if (!interrupts.includes(signal) || !isInForeground()) kill(this.program.pid, signal);
    return false;
  }
}
