/**
 * The signal calls of a program with a trap page: SIGSEGV is the page's and never blocked, and the
 * program sees its own action for it.
 */

import { Errno, VfioError } from '../../abi/errno.js';
import {
  CLONE_THREAD,
  CLONE_VM,
  SIG_BLOCK,
  SIG_SETMASK,
  SIGSEGV,
  SIGSET_BYTES,
} from '../../abi/linux.js';
import { copyFromProcess, copyToProcess } from '../../mm/process/remote-memory.js';
import type { Architecture } from '../arch/index.js';
import type { Listener } from '../seccomp/listener.js';
import { type Errand, type Errands, MEMORY } from './errands.js';
import { HandlerSlots } from './handler-slots.js';
import { SignalAction, signalBit } from './signal-action.js';
import { isTrapPage, TrapState } from './trap-page.js';
import type { SignalFrame } from './x64/frame.js';

const SEGV_BIT = signalBit(SIGSEGV);

/** What an rt_sigaction comes to. */
interface Installation {
  /** The action to install; null: it only asks. */
  readonly installed: SignalAction | null;
  /** Whether the program's own action blocks SIGSEGV. */
  readonly masks: boolean | null;
  /** Where the action before goes, 0: nowhere. */
  readonly old: number;
  /** That one blocks SIGSEGV, as the program believes. */
  readonly wasBlocked: boolean;
  readonly slots: HandlerSlots;
}

export class SignalCalls {
  constructor(
    private readonly call: Listener,
    private readonly architecture: Architecture,
    private readonly errands: Errands,
    private readonly frame: SignalFrame,
    /** The process of a thread, 0 where it is gone. */
    private readonly processOf: (tid: number) => number,
  ) {}

  /** rt_sigaction(signal, act, oldact, size); false: the kernel answers. Throws VfioError. */
  action(): boolean {
    const { call } = this;
    if (isTrapPage(call.returnsTo) || call.argument(3) !== SIGSET_BYTES) return false;
    const signal = call.int(0);
    const given = call.argument(1) === 0 ? null : copyAction(call.tid, call.argument(1));
    if (given === null && call.argument(1) !== 0) throw new VfioError(Errno.EFAULT);
    const state = TrapState.read(call.tid);
    const slots = HandlerSlots.read(call.tid);
    if (state === null || slots === null) return false;
    if (signal === SIGSEGV) {
      this.setFaultAction(state, given);
      return true;
    }
    const installed = given === null ? null : slots.enter(given.without(SIGSEGV));
    const isAsGiven = installed === null || installed.equals(given!);
    const wasBlocked = state.isBlockedIn(signal);
    const isOldShown = call.argument(2) !== 0 && !slots.isEmpty;
    if (isAsGiven && !wasBlocked && !isOldShown) return false;
    const masks = given === null ? null : given.masks(SIGSEGV);
    this.errands.send(
      this.install(signal, { installed, masks, old: call.argument(2), wasBlocked, slots }),
    );
    return true;
  }

  /** rt_sigprocmask(how, set, oldset, size); false: the kernel answers. */
  mask(): boolean {
    const { call } = this;
    if (isTrapPage(call.returnsTo) || call.argument(3) !== SIGSET_BYTES) return false;
    const how = call.int(0);
    const set = new Uint32Array(2);
    if (call.argument(1) === 0 || (how !== SIG_BLOCK && how !== SIG_SETMASK)) return false;
    if (!copyFromProcess(call.tid, call.argument(1), new Uint8Array(set.buffer))) return false;
    if ((set[0]! & SEGV_BIT) === 0 || TrapState.read(call.tid) === null) return false;
    set[0]! &= ~SEGV_BIT;
    this.errands.send(this.setMask(how, set, call.argument(2)));
    return true;
  }

  /** The caller is about to clone; of threads nothing has to be known. */
  clone(flags: number): void {
    if ((flags & CLONE_THREAD) === 0) this.fork((flags & CLONE_VM) !== 0);
  }

  /** The caller is about to make a child: in which memory its SIGSEGV action will be. */
  fork(sharesMemory: boolean): void {
    const { tid } = this.call;
    const state = TrapState.read(tid);
    if (state === null || !state.hasActions) return;
    const owner = sharesMemory ? this.processOf(tid) : 0;
    if (state.owner === owner) return;
    state.owner = owner;
    state.write(tid);
  }

  private setFaultAction(state: TrapState, given: SignalAction | null): void {
    const { call } = this;
    const before = state.action;
    if (given !== null && this.isOwn(state, call.tid)) {
      state.action = given;
      state.write(call.tid);
    }
    const old = call.argument(2);
    if (old !== 0 && !copyToProcess(call.tid, old, before.bytes)) throw new VfioError(Errno.EFAULT);
    call.respond(0);
  }

  private *install(
    signal: number,
    { installed, masks, old, wasBlocked, slots }: Installation,
  ): Errand {
    const { tid } = this.call;
    const value = yield {
      nr: this.architecture.nr.rt_sigaction,
      arguments: [signal, installed === null ? 0 : MEMORY, old, SIGSET_BYTES],
      ...(installed === null ? {} : { memory: installed.bytes }),
    };
    if (value !== 0) return { kind: 'return', value };
    const told = old === 0 ? null : copyAction(tid, old);
    if (told !== null) {
      const before = slots.leave(told);
      copyToProcess(tid, old, (wasBlocked ? before.with(SIGSEGV) : before).bytes);
    }
    const state = masks === null ? null : TrapState.read(tid);
    if (state !== null && this.isOwn(state, tid)) {
      state.setBlockedIn(signal, masks!);
      state.write(tid);
    }
    return { kind: 'return', value };
  }

  /** The mask after the handler is the call's; what the program reads back is the one before. */
  // biome-ignore lint/correctness/useYield: it makes no call, but must be in the handler.
  private *setMask(how: number, set: Uint32Array, old: number): Errand {
    const { frame } = this;
    const { mask, tid } = frame;
    const before = mask.slice();
    for (const index of [0, 1])
      mask[index] = how === SIG_BLOCK ? before[index]! | set[index]! : set[index]!;
    frame.writeMask();
    const told = old === 0 || copyToProcess(tid, old, new Uint8Array(before.buffer));
    return { kind: 'return', value: told ? 0 : -Errno.EFAULT };
  }

  /** Whether the actions in the state are those of the thread's process. */
  private isOwn({ owner }: TrapState, tid: number): boolean {
    return owner === 0 || owner === this.processOf(tid);
  }
}

/** Null where it cannot be read. */
function copyAction(tid: number, address: number): SignalAction | null {
  const words = new Uint32Array(SignalAction.WORDS);
  return copyFromProcess(tid, address, new Uint8Array(words.buffer))
    ? new SignalAction(words)
    : null;
}
