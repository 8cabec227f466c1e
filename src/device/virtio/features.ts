/** Feature negotiation (2.2): bits in words of 32, as the common configuration shows them. */
const WORDS = 2;

export class Features {
  /** What the device offers. */
  readonly offered = new Uint32Array(WORDS);
  /** What the driver has said that it takes. */
  private readonly taken = new Uint32Array(WORDS);
  /** The driver asked for a bit beyond the words. */
  private beyond = false;

  /** `bits`: feature numbers, below 64. */
  constructor(bits: readonly number[]) {
    for (const bit of bits) this.offered[bit >>> 5]! |= 1 << (bit & 31);
  }

  reset(): void {
    this.taken.fill(0);
    this.beyond = false;
  }

  /** Word `select` of what is offered. */
  offeredWord(select: number): number {
    return this.offered[select] ?? 0;
  }

  takenWord(select: number): number {
    return this.taken[select] ?? 0;
  }

  setTaken(select: number, value: number): void {
    if (select < WORDS) this.taken[select] = value;
    else if (value !== 0) this.beyond = true;
  }

  /** The driver takes nothing that is not offered. */
  get acceptable(): boolean {
    return !this.beyond && this.taken.every((word, index) => (word & ~this.offered[index]!) === 0);
  }

  /** Whether a feature is offered and taken. */
  has(bit: number): boolean {
    const word = bit >>> 5;
    return ((this.taken[word]! & this.offered[word]!) >>> (bit & 31)) % 2 !== 0;
  }
}
