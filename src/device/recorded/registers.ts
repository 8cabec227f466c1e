/** Registers that were recorded, with what an access does to them. */

/** What a register does when it is read and written. */
export const registerAccesses = [
  /** Writes are lost. */
  'read-only',
  'read-write',
  /** Reads as 0. */
  'write-only',
  /** A read, of whatever width, takes what is there and leaves 0; writes are lost. */
  'read-to-clear',
  /** A write clears the bits in which it has a one. */
  'write-one-to-clear',
  /** Each read finds the next of its values, the last one for ever; writes are lost. */
  'script',
  /** Reads as how often it was written since the reset, or was read before. */
  'counts-writes',
  'counts-reads',
] as const;
export type RegisterAccess = (typeof registerAccesses)[number];

export interface RecordedRegister {
  readonly access: RegisterAccess;
  /** 32 bits each, at least one: what it reads as after a reset; of a script, one by one. */
  readonly values: readonly number[];
}

interface State {
  readonly register: RecordedRegister;
  value: number;
  /** Values of the script that were read. */
  reads: number;
}

export class RecordedRegisters {
  private readonly states = new Map<number, State>();

  /** `registers`: by offset, a multiple of 4; elsewhere is zero, and writes are lost. */
  constructor(
    registers: ReadonlyMap<number, RecordedRegister>,
    /** A read of 1 or 2 bytes in the middle of a register finds its lowest bytes. */
    private readonly readsLow: boolean,
  ) {
    for (const [offset, register] of registers)
      this.states.set(offset, { register, value: 0, reads: 0 });
    this.reset();
  }

  reset(): void {
    for (const state of this.states.values()) {
      const counts = state.register.access.startsWith('counts');
      state.value = counts ? 0 : state.register.values[0]!;
      state.reads = 0;
    }
  }

  /** Reads bytes from `offset` on; each register among them is read once, in ascending order. */
  read(offset: number, into: Uint8Array): void {
    const isLow = into.length < 4 && this.readsLow;
    for (let done = 0; done < into.length; ) {
      const byte = (offset + done) % 4;
      const count = Math.min(4 - byte, into.length - done);
      let value = this.take(offset + done - byte) >>> (isLow ? 0 : 8 * byte);
      for (const end = done + count; done < end; done++, value >>>= 8) into[done] = value;
    }
  }

  write(offset: number, from: Uint8Array): void {
    for (let done = 0; done < from.length; ) {
      const byte = (offset + done) % 4;
      const count = Math.min(4 - byte, from.length - done);
      let value = 0;
      let mask = 0;
      for (let index = 0; index < count; index++) {
        value |= from[done + index]! << (8 * (byte + index));
        mask |= 0xff << (8 * (byte + index));
      }
      this.put(offset + done - byte, value, mask);
      done += count;
    }
  }

  private take(offset: number): number {
    const state = this.states.get(offset);
    if (state === undefined) return 0;
    const { value } = state;
    const { access, values } = state.register;
    switch (access) {
      case 'write-only':
        return 0;
      case 'read-to-clear':
        state.value = 0;
        break;
      case 'script':
        state.reads = Math.min(state.reads + 1, values.length - 1);
        state.value = values[state.reads]!;
        break;
      case 'counts-reads':
        state.value++;
        break;
    }
    return value;
  }

  private put(offset: number, value: number, mask: number): void {
    const state = this.states.get(offset);
    switch (state?.register.access) {
      case 'read-write':
        state.value = (state.value & ~mask) | (value & mask);
        break;
      case 'write-one-to-clear':
        state.value &= ~value;
        break;
      case 'counts-writes':
        state.value++;
        break;
    }
  }
}
