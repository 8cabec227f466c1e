/**
 * Handlers of a program that lack SA_RESTART, and the slots through which they are entered
 * (x64/restart.ts). The table is in the program's memory: fork copies it, threads and vfork share
 * it, exec drops it. A handler keeps its slot.
 */
import { SA_RESTART, SIG_IGN, type SignalAction } from './signal-action.js';
import { HANDLER_TABLE, HANDLERS_MAX, readState, writeState } from './trap-page.js';
import { slotAddress, slotAt } from './x64/restart.js';

export class HandlerSlots {
  private constructor(
    private readonly tid: number,
    private readonly words: Uint32Array,
  ) {}

  /** Those of a thread's memory; null where it has no trap page. */
  static read(tid: number): HandlerSlots | null {
    const words = new Uint32Array(2 * HANDLERS_MAX);
    return readState(tid, HANDLER_TABLE, new Uint8Array(words.buffer))
      ? new HandlerSlots(tid, words)
      : null;
  }

  get isEmpty(): boolean {
    return this.words[0] === 0 && this.words[1] === 0;
  }

  /** The action to install for one of the program's. The same where there is no slot for it. */
  enter(action: SignalAction): SignalAction {
    const { handler, flags } = action;
    if (handler <= SIG_IGN || (flags & SA_RESTART) !== 0) return action;
    const slot = this.slotOf(handler);
    return slot < 0 ? action : action.withHandler(slotAddress(slot));
  }

  /** The program's own action, of one that is installed. */
  leave(action: SignalAction): SignalAction {
    const slot = slotAt(action.handler);
    return slot < 0 ? action : action.withHandler(this.handler(slot));
  }

  private handler(slot: number): number {
    return this.words[2 * slot + 1]! * 2 ** 32 + this.words[2 * slot]!;
  }

  private slotOf(handler: number): number {
    for (let slot = 0; slot < HANDLERS_MAX; slot++) {
      const known = this.handler(slot);
      if (known === handler) return slot;
      if (known !== 0) continue;
      this.words[2 * slot] = handler; // stores the low 32 bits
      this.words[2 * slot + 1] = handler / 2 ** 32;
      const entry = new Uint8Array(this.words.buffer, 8 * slot, 8);
      return writeState(this.tid, HANDLER_TABLE + 8 * slot, entry) ? slot : -1;
    }
    return -1;
  }
}
