/**
 * What the handler in the trap page asks: whether it is on an errand, touched a register, or has
 * the program's own fault before it.
 */
import { PROT_WRITE, SIG_BLOCK, SIGSEGV, SIGSET_BYTES } from '../../abi/linux.js';
import { REGION_OFFSET } from '../../abi/vfio.js';
import { copyFromProcess, copyToProcess } from '../../mm/process/remote-memory.js';
import type { PciFunction } from '../../vfio/pci-function.js';
import type { CallContext } from '../calls/context.js';
import { Later } from '../seccomp/later.js';
import { DeviceBus } from './device-bus.js';
import { type Errand, type Errands, MEMORY, type Outcome } from './errands.js';
import { SA_RESETHAND, SIG_DFL, SIG_IGN, SIGBUS, SignalAction } from './signal-action.js';
import { findArea, isTrapPage, type TrappedArea, TrapState } from './trap-page.js';
import { Answer, doneAnswer, Request } from './x64/code.js';
import { decode, describe } from './x64/decode.js';
import type { Form } from './x64/form.js';
import { SignalFrame, STATE_WORD, UNUSED_PLACE } from './x64/frame.js';
import { isStore, Processor } from './x64/processor.js';

/** si_code: a page that is there and must not be touched so; an address that nothing answers. */
const SEGV_ACCERR = 2;
const BUS_ADRERR = 2;
const FORMS_MAX = 4096;
const resume: Outcome = { kind: 'resume' };

/** A form and the bytes that it was made of: code made at run time uses addresses again. */
interface KnownForm {
  readonly bytes: Uint8Array;
  readonly form: Form;
}

export class FaultCalls {
  /** Registers touched. */
  count = 0;
  private readonly bus = new DeviceBus();
  private readonly processor: Processor;
  /** By the instruction's address. */
  private readonly forms = new Map<number, KnownForm>();

  constructor(
    private readonly context: CallContext,
    private readonly errands: Errands,
    private readonly frame: SignalFrame,
    /** By the number of a device in trapped areas. */
    private readonly functions: readonly PciFunction[],
  ) {
    this.processor = new Processor(frame, this.bus);
  }

  /** The handler asks. False: another asks, and the number means nothing to a kernel. Hot. */
  ask(): boolean {
    const { call } = this.context;
    if (!isTrapPage(call.returnsTo)) return false;
    if (this.context.files.isBusy) this.askMeanwhile();
    else this.answer(false);
    return true;
  }

  /**
   * The same while a device or a call waits for a page that the asking thread may have to bring.
   * The frame may be that of the register whose device waits.
   */
  private askMeanwhile(): void {
    const bringBack = this.frame.setAside();
    try {
      this.answer(true);
    } finally {
      bringBack();
    }
  }

  /** `isBusy`: registers must wait for their turn. */
  private answer(isBusy: boolean): void {
    const { frame } = this;
    const { call } = this.context;
    if (!frame.read(call.tid, call.argument(2), call.argument(1), call.argument(3)))
      call.respond(Answer.RETURN);
    else if (!this.errands.handle(frame)) this.fault(isBusy);
  }

  private fault(isBusy: boolean): void {
    const { frame, context } = this;
    const area = this.area();
    if (area !== null && isBusy) throw new Later();
    const known = area === null ? null : this.form();
    if (area === null || !isAllowed(area, frame.isWrite || (known !== null && isStore(known))))
      return this.programsOwn();
    const { faultAddress } = frame;
    const pciFunction = this.functions[area.device];
    // The program may have written anything into the state.
    if (pciFunction === undefined) return this.programsOwn();
    const file = context.files.deviceFile(pciFunction);
    if (known === null || file === null || !this.processor.touches(known))
      return this.unknown(area);
    if (faultAddress + known.size > area.end) return this.unknown(area);
    this.count++;
    this.bus.point(file, area.offset + faultAddress - area.start);
    if (!this.processor.execute(known)) return this.unknown(area);
    if (this.bus.failed) return this.errands.begin(this.raiseBus(), frame);
    this.goOn(known);
  }

  /** The instruction is done. Most change one register at most, which the handler can set. */
  private goOn(form: Form): void {
    const { frame } = this;
    const { call } = this.context;
    const place = changedPlace(form);
    const word = place / 4;
    if (place === UNUSED_PLACE) call.respondWords(0, doneAnswer(place, form.length));
    else if (place > 0 && frame.words[word + 1] === 0)
      call.respondWords(frame.words[word]!, doneAnswer(place, form.length));
    else {
      frame.writeRegisters();
      call.respond(Answer.RETURN);
    }
  }

  /** The trapped area that was touched, or null. */
  private area(): TrappedArea | null {
    const { frame } = this;
    if (!frame.isPageFault || frame.code !== SEGV_ACCERR) return null;
    const address = frame.faultAddress;
    const area = findArea(frame.words, STATE_WORD, address);
    if (area !== 'more') return area;
    return TrapState.read(frame.tid)?.within(address, address + 1)[0] ?? null;
  }

  private form(): Form | null {
    const { frame, forms } = this;
    const { rip, instruction, instructionBytes } = frame;
    const known = forms.get(rip);
    if (known !== undefined && begins(instruction, known.bytes)) return known.form;
    const form = decode(instruction.slice(0, instructionBytes));
    if (form === null) return null;
    if (forms.size >= FORMS_MAX) forms.clear();
    forms.set(rip, { form, bytes: instruction.slice(0, form.length) });
    return form;
  }

  /** A fault of the program's own, or a SIGSEGV that was sent: its own action, or the default. */
  private programsOwn(): void {
    const { frame } = this;
    const state = TrapState.read(frame.tid);
    const action = state === null ? SignalAction.initial : state.action;
    const isSent = frame.code <= 0;
    if (action.handler > SIG_IGN) this.errands.begin(this.deliver(action, state!), frame);
    else if (action.handler === SIG_IGN && isSent) this.context.call.respond(Answer.RETURN);
    else this.errands.begin(this.crash(isSent), frame);
  }

  private unknown(area: TrappedArea): void {
    const { frame, context } = this;
    const { kind, address } = this.functions[area.device]!;
    const offset = area.offset + frame.faultAddress - area.start;
    const place = `BAR ${Math.floor(offset / REGION_OFFSET)} + 0x${(offset % REGION_OFFSET).toString(16)}`;
    const text = describe(frame.instruction.slice(0, frame.instructionBytes));
    context.tell(
      `${kind} ${address}: ${place} was touched by an instruction that cannot be done ` +
        `for a register: ${text}, at 0x${frame.rip.toString(16)} of process ${context.processes.processOf(frame.tid)}, ` +
        'which ends here',
    );
    this.errands.begin(this.crash(false), frame);
  }

  /** Enters the program's handler as the kernel would have, with SIGSEGV let through. */
  private *deliver(action: SignalAction, state: TrapState): Errand {
    const { tid, info } = this.frame;
    if ((action.flags & SA_RESETHAND) !== 0) {
      state.action = SignalAction.initial;
      state.write(tid);
    }
    const mask = action.maskWithout(SIGSEGV);
    if (mask[0] !== 0 || mask[1] !== 0) {
      // The request lies where the handler finds what raised the signal.
      const saved = new Uint8Array(Request.MEMORY + Request.MEMORY_BYTES);
      copyFromProcess(tid, info, saved);
      yield {
        nr: this.context.architecture.nr.rt_sigprocmask,
        arguments: [SIG_BLOCK, MEMORY, 0, SIGSET_BYTES],
        memory: new Uint8Array(mask.buffer),
      };
      copyToProcess(tid, info, saved);
    }
    return { kind: 'jump', address: action.handler };
  }

  /** The default action where the fault was: its signal, and a core with its registers. */
  private *crash(isSent: boolean): Errand {
    const { nr } = this.context.architecture;
    const { tid } = this.frame;
    yield {
      nr: nr.rt_sigaction,
      arguments: [SIGSEGV, MEMORY, 0, SIGSET_BYTES],
      memory: SignalAction.of(SIG_DFL, 0, 0).bytes,
    };
    if (isSent) yield { nr: nr.tkill, arguments: [tid, SIGSEGV] };
    return resume;
  }

  /** SIGBUS at the instruction, as a kernel raises it where a BAR's memory is switched off. */
  private *raiseBus(): Errand {
    const { tid, faultAddress } = this.frame;
    const info = new Uint32Array(16);
    info.set([SIGBUS, 0, BUS_ADRERR, 0, faultAddress % 2 ** 32, faultAddress / 2 ** 32]);
    yield {
      nr: this.context.architecture.nr.rt_tgsigqueueinfo,
      arguments: [this.context.processes.processOf(tid), tid, SIGBUS, MEMORY],
      memory: new Uint8Array(info.buffer),
    };
    return resume;
  }
}

/** Offset in ucontext of the only general register that a form may change; 0: others, too. */
function changedPlace(form: Form): number {
  switch (form.kind) {
    case 'load':
      return 4 * SignalFrame.word(form.to.number);
    case 'store':
    case 'set':
    case 'vector load':
    case 'vector store':
      return UNUSED_PLACE;
    default:
      return 0;
  }
}

function isAllowed({ protection }: TrappedArea, isWrite: boolean): boolean {
  return isWrite ? (protection & PROT_WRITE) !== 0 : protection !== 0;
}

function begins(instruction: Uint8Array, bytes: Uint8Array): boolean {
  for (let index = 0; index < bytes.length; index++)
    if (instruction[index] !== bytes[index]) return false;
  return true;
}
