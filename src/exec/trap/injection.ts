/**
 * Puts the trap page into each new program, in the moment after its exec: at the first
 * intercepted call it has one thread, which waits for the answer.
 *
 * 1. The code behind the call's instruction is replaced through /proc/PID/mem, and the call
 *    answered: the thread runs the replacement, which maps the page and says where.
 * 2. The page is filled; the thread goes on in it: it installs the handler, and makes the call
 *    again.
 * 3. At that call the code is put back, and the call is answered as any other.
 */
import { readFileSync } from 'node:fs';
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
  SIGSEGV,
  SignalAction,
} from './signal-action.js';
import { forceWrite, TRAP_PAGE, TrapState } from './trap-page.js';
import {
  givingUpCode,
  HANDLER_ADDRESS,
  type InterceptedCall,
  MARK,
  mappingCode,
  RESTORER_ADDRESS,
  START_ADDRESS,
  trapPageCode,
} from './x64/code.js';
import { restartCode } from './x64/restart.js';

/** Bytes of the program's code that are replaced for a moment. */
const REPLACED_BYTES = 96;

const action = SignalAction.of(
  HANDLER_ADDRESS,
  SA_SIGINFO | SA_RESTORER | SA_ONSTACK | SA_NODEFER | SA_RESTART,
  RESTORER_ADDRESS,
);

export class Injection {
  /** Threads from which a new program is expected, with the thread that calls execve. */
  private readonly expected = new Map<number, number>();
  /** Threads that run the replacement. */
  private readonly running = new Map<number, InterceptedCall & { readonly code: Uint8Array }>();
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
    // These end what would be given a page, or wait for another exec.
    this.notBegun = new Set([nr.exit, nr.exit_group, nr.execve, nr.execveat]);
  }

  /** The thread of the current call is in execve. Its process goes on as the group's leader. */
  expect(): void {
    const { tid } = this.call;
    this.expected.set(tid, tid);
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
    if (statusOf(tid).threads !== 1) return this.leave(tid, 'it had threads too early');
    const code = new Uint8Array(REPLACED_BYTES);
    const { returnsTo } = call;
    if (!copyFromProcess(tid, returnsTo, code) || !forceWrite(tid, returnsTo, mappingCode()))
      return this.leave(
        tid,
        'its memory may not be written (it is not dumpable, or proc_mem.force_override forbids it)',
      );
    this.running.set(tid, { nr: call.nr, arguments: call.argumentWords(), returnsTo, code });
    call.respond(0);
    return true;
  }

  private goOn(): boolean {
    const { call } = this;
    const { tid } = call;
    const replaced = this.running.get(tid)!;
    if (call.nr === MARK) {
      call.respond(this.fill(tid, replaced));
      return true;
    }
    if (call.nr === replaced.nr && call.returnsTo === replaced.returnsTo) {
      forceWrite(tid, replaced.returnsTo, replaced.code);
      this.running.delete(tid);
    }
    return false;
  }

  /** The mapping was tried. Returns where the thread goes on. */
  private fill(tid: number, replaced: InterceptedCall): number {
    const state = new TrapState();
    if (statusOf(tid).ignoresFaults) state.action = SignalAction.of(SIG_IGN, 0, 0);
    const filled =
      this.call.argument(1) === TRAP_PAGE &&
      forceWrite(tid, TRAP_PAGE, trapPageCode(replaced, action.bytes, this.restart)) &&
      state.write(tid);
    if (filled) return START_ADDRESS;
    this.leave(
      tid,
      `its memory has no room at 0x${TRAP_PAGE.toString(16)}, or allows no code there`,
    );
    forceWrite(tid, replaced.returnsTo, givingUpCode(replaced));
    return replaced.returnsTo;
  }

  /** Why the process of a thread has no trap page. */
  reason(tid: number): string {
    return (
      this.reasons.get(tid) ?? this.reasons.get(statusOf(tid).pid) ?? 'for its exec was not seen'
    );
  }

  private leave(tid: number, reason: string): false {
    this.reasons.set(tid, reason);
    return false;
  }
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
