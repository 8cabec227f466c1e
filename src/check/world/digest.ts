/**
 * A 53-bit digest of numbers: among a million states two are alike by accident about once in 18,000
 * runs.
 */
export class Digest {
  private a = 0;
  private b = 0;

  begin(): void {
    this.a = 0x2545f491;
    this.b = 0x1b873593;
  }

  /** Adds a whole number; its low 32 bits and what is above them count. */
  add(value: number): void {
    this.mix(value | 0);
    if (value > 0x7fffffff || value < -0x80000000) this.mix(Math.floor(value / 0x100000000) | 0);
  }

  private mix(word: number): void {
    let a = Math.imul(this.a ^ word, 0x9e3779b1);
    a ^= a >>> 15;
    this.a = a;
    let b = Math.imul(this.b + word + 0x6b79d38f, 0x85ebca6b) ^ (this.b >>> 13);
    b ^= b << 7;
    this.b = b | 0;
  }

  get value(): number {
    return (this.a >>> 0) * 0x200000 + ((this.b >>> 0) & 0x1fffff);
  }
}
