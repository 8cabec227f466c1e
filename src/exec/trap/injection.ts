/**
 * Puts the trap page into each new program, in the moment after its exec: at the first
 * intercepted call it has one thread, which waits for the answer.
 *
 * 1. The code behind the call's instruction is replaced through /proc/PID/mem, and the call
 *    answered: the thread runs the replacement, which maps the page and says where.
 * 2. The page is filled; the thread goes on in it: it installs the handler, and makes the call
 *    again.
 * 3. At that call the code is put back, the state is written, and the call is answered as any
 *    other.
 *
 * Where /proc/PID/mem may not be written, or there are more threads, which could run the
 * replacement, ptrace does the first two: no code is replaced then.
 */

import { readFileSync } from 'node:fs';
import { O_CLOEXEC, O_RDWR, SIGSEGV } from '../../abi/linux.js';
import { PAGE_SIZE } from '../../mm/address-space.js';
import { allocateNative, close, open, pwrite, syscall } from '../../mm/process/libc.js';
import { copyFromProcess } from '../../mm/process/remote-memory.js';
import type { Architecture } from '../arch/index.js';
import type { DescriptorWindow } from '../seccomp/filter.js';
import type { Listener } from '../seccomp/listener.js';
import {
  SA_NODEFER,
  SA_ONSTACK,
  SA_RESTART,
  SA_RESTORER,
  SA_SIGINFO,
  SIG_IGN,
  SignalAction,
} from './signal-action.js';
import { TRAP_PAGE, TrapState } from './trap-page.js';
import {
  GIVING_UP,
  HANDLER_ADDRESS,
  type InterceptedCall,
  instructionOf,
  MARK,
  mapCode,
  mappingCode,
  RESTORER_ADDRESS,
  START_ADDRESS,
  trapPageCode,
} from './x64/code.js';
import { restartCode } from './x64/restart.js';
import { Tracee } from './x64/tracee.js';

const action = SignalAction.of(
  HANDLER_ADDRESS,
  SA_SIGINFO | SA_RESTORER | SA_ONSTACK | SA_NODEFER | SA_RESTART,
  RESTORER_ADDRESS,
);

/** A call that waits until the page is there. */
interface Waiting extends InterceptedCall {
  /** The code behind it, null where it was left alone. */
  readonly code: Uint8Array | null;
  /** What the trap state says at first. */
  readonly state: TrapState;
}

const noRoom = `its memory has no room at 0x${TRAP_PAGE.toString(16)}, or allows no code there`;

export class Injection {
  /** Threads from which a new program is expected, with the thread that calls execve. */
  private readonly expected = new Map<number, number>();
  /** By thread. */
  private readonly running = new Map<number, Waiting>();
  private readonly tgkill: number;
  private readonly notBegun: ReadonlySet<number>;
  private readonly restart: Uint8Array;
  /** Why threads have none. */
  private readonly reasons = new Map<number, string>();

  constructor(
    private readonly call: Listener,
    architecture: Architecture,
    window: DescriptorWindow,
  ) {
    const { nr } = architecture;
    this.restart = restartCode(architecture, window);
    this.tgkill = nr.tgkill;
    // These end what would be given a page, or wait for another exec.
    this.notBegun = new Set([nr.exit, nr.exit_group, nr.execve, nr.execveat]);
  }

  /** The thread of the current call is in execve. Its process goes on as the group's leader. */
  expect(): void {
    const { tid } = this.call;
    this.expected.set(tid, tid);
    // Mostly it is that itself: a signal of 0 finds only leaders so, and /proc takes much longer.
    if (syscall(this.tgkill, tid, tid, 0, 0, 0, 0) === 0) return;
    const { pid } = statusOf(tid);
    if (pid > 0) this.expected.set(pid, tid);
  }

  /** Takes the current call if it is part of an injection, or begins one; false: neither. Hot. */
  take(): boolean {
    if (this.running.size > 0 && this.running.has(this.call.tid)) return this.goOn();
    if (this.expected.size > 0 && this.expected.has(this.call.tid)) return this.begin();
    return false;
  }

  private begin(): boolean {
    const { call } = this;
    const { tid } = call;
    if (this.notBegun.has(call.nr)) return false;
    const caller = this.expected.get(tid)!;
    if (TrapState.read(tid) !== null) {
      // Still the old program: this call comes from beside the execve, or says that it failed.
      if (caller === tid) {
        for (const [thread, other] of this.expected)
          if (other === tid) this.expected.delete(thread);
      }
      return false;
    }
    this.expected.delete(tid);
    const { threads, ignoresFaults } = statusOf(tid);
    const state = new TrapState();
    if (ignoresFaults) state.action = SignalAction.of(SIG_IGN, 0, 0);
    const { nr, returnsTo } = call;
    const waiting = { nr, returnsTo, arguments: call.argumentWords(), code: null, state };
    return (threads === 1 && this.replaceCode(waiting)) || this.trace(waiting);
  }

  /** False: the code may not be written. */
  private replaceCode(waiting: Waiting): boolean {
    const { call } = this;
    const { tid } = call;
    const { returnsTo } = waiting;
    const replacement = mappingCode(waiting);
    const code = new Uint8Array(replacement.length);
    if (!copyFromProcess(tid, returnsTo, code) || !forceWrite(tid, returnsTo, replacement))
      return false;
    this.running.set(tid, { ...waiting, code });
    call.respond(0);
    return true;
  }

  /** False: the thread may not be traced, and its call still waits. */
  private trace(waiting: Waiting): boolean {
    const { call } = this;
    const { tid } = call;
    const tracee = Tracee.seize(tid);
    if (tracee === null) {
      this.leave(
        tid,
        'its code may not be written, and it may not be traced (it is not dumpable, or a tracer is ' +
          'there already)',
      );
      return false;
    }
    call.respond(0);
    if (!tracee.waitForStop()) return true;
    const instruction = instructionOf(waiting);
    const isFilled =
      tracee.call(mapCode, instruction) === TRAP_PAGE &&
      tracee.poke(TRAP_PAGE, trapPageCode(waiting, action.bytes, this.restart));
    if (isFilled) this.running.set(tid, waiting);
    else this.leave(tid, noRoom);
    tracee.release(isFilled ? START_ADDRESS : instruction, waiting.nr);
    return true;
  }

  private goOn(): boolean {
    const { call } = this;
    const { tid } = call;
    const waiting = this.running.get(tid)!;
    if (call.nr === MARK) {
      call.respond(this.fill(tid, waiting));
      return true;
    }
    if (call.nr === waiting.nr && call.returnsTo === waiting.returnsTo) {
      if (waiting.code !== null) forceWrite(tid, waiting.returnsTo, waiting.code);
      if (!waiting.state.write(tid)) this.leave(tid, noRoom);
      this.running.delete(tid);
    }
    return false;
  }

  /** The mapping was tried. Returns where the thread goes on. */
  private fill(tid: number, waiting: Waiting): number {
    const isFilled =
      this.call.argument(1) === TRAP_PAGE &&
      forceWrite(tid, TRAP_PAGE, trapPageCode(waiting, action.bytes, this.restart));
    if (isFilled) return START_ADDRESS;
    this.leave(tid, noRoom);
    return waiting.returnsTo + GIVING_UP;
  }

  /** Why the process of a thread has no trap page. */
  reason(tid: number): string {
    return (
      this.reasons.get(tid) ?? this.reasons.get(statusOf(tid).pid) ?? 'for its exec was not seen'
    );
  }

  private leave(tid: number, reason: string): void {
    this.reasons.set(tid, reason);
  }
}

const scratch = allocateNative(PAGE_SIZE);

/** Writes to a process's memory whatever its protection; false where that may not be. */
function forceWrite(tid: number, address: number, from: Uint8Array): boolean {
  const fd = open(`/proc/${tid}/mem`, O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) return false;
  scratch.bytes.set(from);
  const written = pwrite(fd, scratch.address, from.length, address);
  close(fd);
  return written === from.length;
}

interface Status {
  /** 0: the thread is gone. */
  readonly pid: number;
  readonly threads: number;
  /** SIGSEGV is ignored, as an exec leaves it. */
  readonly ignoresFaults: boolean;
}

function statusOf(tid: number): Status {
  try {
    const text = readFileSync(`/proc/${tid}/status`, 'latin1');
    const ignored = /^SigIgn:\s+([0-9a-f]+)$/m.exec(text)?.[1] ?? '0';
    return {
      pid: Number(/^Tgid:\s+(\d+)/m.exec(text)?.[1] ?? 0),
      threads: Number(/^Threads:\s+(\d+)/m.exec(text)?.[1] ?? 0),
      ignoresFaults: (Number.parseInt(ignored.slice(-8), 16) & (1 << (SIGSEGV - 1))) !== 0,
    };
  } catch {
    return { pid: 0, threads: 0, ignoresFaults: false };
  }
}
