/** 64-bit numbers in pairs of 32-bit words, the low word first: exact below 2^53, else rounded. */

const HIGH = 2 ** 32;

/** The number in words `at` and `at + 1`. */
export function getLong(words: Uint32Array, at: number): number {
  return words[at + 1]! * HIGH + words[at]!;
}

/** Stores a number of 0 to 2^53 in words `at` and `at + 1`. Hot. */
export function setLong(words: Uint32Array, at: number, value: number): void {
  words[at] = value; // stores the low 32 bits
  words[at + 1] = value / HIGH;
}
