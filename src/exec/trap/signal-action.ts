export const SIGBUS = 7;
export const SIG_DFL = 0;
export const SIG_IGN = 1;

export const SA_SIGINFO = 4;
export const SA_RESTORER = 0x0400_0000;
export const SA_ONSTACK = 0x0800_0000;
export const SA_RESTART = 0x1000_0000;
export const SA_NODEFER = 0x4000_0000;
export const SA_RESETHAND = 0x8000_0000;

/** The bit of a signal in a sigset_t's first word; for signals up to 32. */
export const signalBit = (signal: number): number => 2 ** (signal - 1);

// Words of struct kernel_sigaction.
const HANDLER = 0;
const FLAGS = 2;
const RESTORER = 4;
const MASK = 6;

/** struct kernel_sigaction (include/linux/signal_types.h): what rt_sigaction takes and gives. */
export class SignalAction {
  static readonly WORDS = 8;
  static readonly BYTES = 32;
  static readonly initial = new SignalAction(new Uint32Array(SignalAction.WORDS));

  constructor(readonly words: Uint32Array) {}

  static of(handler: number, flags: number, restorer: number): SignalAction {
    const words = new Uint32Array(SignalAction.WORDS);
    words[HANDLER] = handler;
    words[HANDLER + 1] = handler / 2 ** 32;
    words[FLAGS] = flags;
    words[RESTORER] = restorer;
    words[RESTORER + 1] = restorer / 2 ** 32;
    return new SignalAction(words);
  }

  get bytes(): Uint8Array {
    return new Uint8Array(this.words.buffer, this.words.byteOffset, SignalAction.BYTES);
  }

  /** SIG_DFL, SIG_IGN or an address. */
  get handler(): number {
    return this.words[HANDLER + 1]! * 2 ** 32 + this.words[HANDLER]!;
  }

  get flags(): number {
    return this.words[FLAGS]!;
  }

  /** The same action with another handler. */
  withHandler(address: number): SignalAction {
    const words = this.words.slice();
    words[HANDLER] = address; // stores the low 32 bits
    words[HANDLER + 1] = address / 2 ** 32;
    return new SignalAction(words);
  }

  /** Whether a signal, up to 32, is blocked while the handler runs. */
  masks(signal: number): boolean {
    return (this.words[MASK]! & signalBit(signal)) !== 0;
  }

  /** The mask, without this signal. */
  maskWithout(signal: number): Uint32Array {
    const mask = this.words.slice(MASK, MASK + 2);
    mask[0]! &= ~signalBit(signal);
    return mask;
  }

  equals({ words }: SignalAction): boolean {
    return this.words.every((word, index) => word === words[index]);
  }

  /** The same action, which blocks this signal, up to 32. */
  with(signal: number): SignalAction {
    const words = this.words.slice();
    words[MASK]! |= signalBit(signal);
    return new SignalAction(words);
  }

  /** The same action, which does not block this signal. */
  without(signal: number): SignalAction {
    const words = this.words.slice();
    words.set(this.maskWithout(signal), MASK);
    return new SignalAction(words);
  }
}
