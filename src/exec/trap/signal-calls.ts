/**
 * The signal calls of a program with a trap page: SIGSEGV is the page's and never blocked, and the
 * program sees its own action for it.
 */
import { Errno, VfioError } from '../../abi/errno.js';
import { copyFromProcess, copyToProcess } from '../../mm/process/remote-memory.js';
import type { Architecture } from '../arch/index.js';
import type { Listener } from '../seccomp/listener.js';
import { type Errand, type Errands, MEMORY } from './errands.js';
import { HandlerSlots } from './handler-slots.js';
import { SIG_BLOCK, SIG_SETMASK, SIGSEGV, SignalAction, signalBit } from './signal-action.js';
import { isTrapPage, TrapState } from './trap-page.js';
import type { SignalFrame } from './x64/frame.js';

const SIGSET_BYTES = 8;
const CLONE_VM = 0x100;
const CLONE_THREAD = 0x10000;
const SEGV_BIT = signalBit(SIGSEGV);

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
    const given = call.argument(1) === 0 ? null : this.copyAction(call.argument(1));
    if (call.int(0) === SIGSEGV) {
      const state = TrapState.read(call.tid);
      if (state !== null) this.setFaultAction(state, given);
      return state !== null;
    }
    const slots = HandlerSlots.read(call.tid);
    if (slots === null) return false;
    const installed = given === null ? null : slots.enter(given.without(SIGSEGV));
    const isAsGiven = installed === null || installed.equals(given!);
    if (isAsGiven && (call.argument(2) === 0 || slots.isEmpty)) return false;
    this.errands.send(this.install(call.int(0), installed, call.argument(2), slots));
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
    if (state === null || state.action.handler === 0) return;
    const owner = sharesMemory ? this.processOf(tid) : 0;
    if (state.owner === owner) return;
    state.owner = owner;
    state.write(tid);
  }

  private setFaultAction(state: TrapState, given: SignalAction | null): void {
    const { call } = this;
    const before = state.action;
    const isOwn = state.owner === 0 || state.owner === this.processOf(call.tid);
    if (given !== null && isOwn) {
      state.action = given;
      state.write(call.tid);
    }
    const old = call.argument(2);
    if (old !== 0 && !copyToProcess(call.tid, old, before.bytes)) throw new VfioError(Errno.EFAULT);
    call.respond(0);
  }

  private *install(
    signal: number,
    action: SignalAction | null,
    old: number,
    slots: HandlerSlots,
  ): Errand {
    const value = yield {
      nr: this.architecture.nr.rt_sigaction,
      arguments: [signal, action === null ? 0 : MEMORY, old, SIGSET_BYTES],
      ...(action === null ? {} : { memory: action.bytes }),
    };
    if (value === 0 && old !== 0) slots.show(old);
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

  private copyAction(address: number): SignalAction {
    const words = new Uint32Array(SignalAction.WORDS);
    if (!copyFromProcess(this.call.tid, address, new Uint8Array(words.buffer)))
      throw new VfioError(Errno.EFAULT);
    return new SignalAction(words);
  }
}
