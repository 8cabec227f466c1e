/** Children of this process that it starts without libc: the program, and the guard. */

import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { Errno } from '../../abi/errno.js';
import { CLONE_VM, SIG_SETMASK, SIGKILL, SIGSET_BYTES } from '../../abi/linux.js';
import {
  allocateNative,
  close,
  errno,
  kill,
  must,
  pthreadSigmask,
  syscall,
  waitid,
  waitpid,
} from '../../mm/process/libc.js';
import type { Architecture } from '../arch/index.js';
import { CallList } from './call-list.js';
import { cloneWith } from './native-code.js';

/** What Node ignores. */
const SIGPIPE = 13;
const SIGXFSZ = 25;
const LAST_SIGNAL = 64;
/** struct kernel_sigaction */
const ACTION_BYTES = 32;
/** sigset_t of libc */
const MASK_BYTES = 128;

const P_PID = 1;
const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x1000000;
const CLD_EXITED = 1;
// Words of siginfo_t.
const SI_CODE = 2;
const SI_PID = 4;
const SI_STATUS = 6;

const memory = allocateNative(2 * MASK_BYTES);
const words = new Int32Array(memory.bytes.buffer, 0, (2 * MASK_BYTES) / 4);

/**
 * Starts a child that makes the calls of `list`, with default handlers and no signal blocked.
 * Returns its id, or minus the errno. What the list opens, or changes of descriptors, is the
 * child's alone; its memory is this process's until it execs.
 */
export function startChild({ code, nr }: Architecture, list: CallList): number {
  // A handler that ran in the child would run on this process's memory.
  const caught = caughtSignals();
  const before = new CallList(caught.length + 1, ACTION_BYTES + SIGSET_BYTES);
  const initial = before.data(new Uint8Array(ACTION_BYTES));
  for (const signal of caught) before.call(nr.rt_sigaction, signal, initial, 0, SIGSET_BYTES);
  before
    .call(
      nr.rt_sigprocmask,
      SIG_SETMASK,
      before.data(new Uint8Array(SIGSET_BYTES)),
      0,
      SIGSET_BYTES,
    )
    .follow(list);
  memory.bytes.fill(0xff, 0, MASK_BYTES);
  const own = memory.address + MASK_BYTES;
  must('pthread_sigmask', -pthreadSigmask(SIG_SETMASK, memory.address, own));
  try {
    return cloneWith(code, before, CLONE_VM | constants.signals.SIGCHLD);
  } finally {
    pthreadSigmask(SIG_SETMASK, own, 0);
  }
}

/** Signals that do not have their default here. */
function caughtSignals(): number[] {
  const status = readFileSync('/proc/self/status', 'latin1');
  const caught = BigInt(`0x${/^SigCgt:\s+([0-9a-f]+)$/m.exec(status)![1]!}`);
  return Array.from({ length: LAST_SIGNAL }, (_, index) => index + 1).filter(
    (signal) =>
      ((caught >> BigInt(signal - 1)) & 1n) === 1n || signal === SIGPIPE || signal === SIGXFSZ,
  );
}

/** How a child ended: its exit code, or the name of the signal that killed it. */
export interface ChildEnd {
  readonly exitCode: number | null;
  readonly signal: string | null;
}

export class Child {
  /** Null: it has not been reaped. */
  end: ChildEnd | null = null;

  private pidfd = -1;

  constructor(readonly pid: number) {}

  /** Has `events` report its exit; then `exited` is to be called. Throws SystemError. */
  watch({ nr }: Architecture, events: { addProcess(pidfd: number, pid: number): void }): void {
    this.pidfd = must('pidfd_open', syscall(nr.pidfd_open, this.pid, 0, 0, 0, 0, 0));
    events.addProcess(this.pidfd, this.pid);
  }

  /** Its exit was reported: reaps it, unless somebody traces it, and it is reported no more. */
  exited(): void {
    this.reap(false);
    if (this.pidfd >= 0) close(this.pidfd);
    this.pidfd = -1;
  }

  /** Reaps it if it has exited, or, with `wait`, once it has. */
  reap(wait: boolean): ChildEnd | null {
    if (this.end !== null) return this.end;
    const flags = WEXITED | (wait ? 0 : WNOHANG);
    words[SI_PID] = 0;
    while (waitid(P_PID, this.pid, memory.address, flags) < 0)
      if (errno() !== Errno.EINTR) return null;
    if (words[SI_PID] !== this.pid) return null;
    const status = words[SI_STATUS]!;
    this.end =
      words[SI_CODE] === CLD_EXITED
        ? { exitCode: status, signal: null }
        : { exitCode: null, signal: signalName(status) };
    return this.end;
  }
}

/** Kills a child, unless it was reaped already. */
export function killChild(pid: number): void {
  if (waitid(P_PID, pid, memory.address, WEXITED | WNOHANG | WNOWAIT) < 0) return;
  kill(pid, SIGKILL);
  waitpid(pid, 0, 0);
}

/** `SIGTERM`; of real-time signals, which have none, `SIG34`. */
function signalName(number: number): string {
  const found = Object.entries(constants.signals).find(([, known]) => known === number);
  return found?.[0] ?? `SIG${number}`;
}

/** The number that such a name stands for. */
export function signalNumber(name: string): number {
  return constants.signals[name as NodeJS.Signals] ?? Number(name.slice('SIG'.length));
}

/**
 * Reaps orphans of the program, which become iopf's children: kernels before 6.11 keep a filter
 * until its last task is reaped.
 */
export function reapChildren(program: Child): void {
  for (;;) {
    words[SI_PID] = 0;
    if (waitid(0, 0, memory.address, WEXITED | WNOHANG | WNOWAIT) !== 0) return;
    const pid = words[SI_PID]!;
    if (pid === 0) return;
    if (pid === program.pid) program.reap(false);
    else waitpid(pid, 0, WNOHANG);
  }
}
