/** 64-bit numbers, little endian and without BigInt: exact below 2^53, else rounded. */

/** The weight of the upper word. */
export const HIGH = 2 ** 32;

/** The number in two 32-bit words, `at` and `at + 1`. */
export function getLong(words: Uint32Array, at: number): number {
  return words[at + 1]! * HIGH + words[at]!;
}

/** Stores a number of 0 to 2^53 in two 32-bit words, `at` and `at + 1`. Hot. */
export function setLong(words: Uint32Array, at: number, value: number): void {
  words[at] = value; // stores the low 32 bits
  words[at + 1] = value / HIGH;
}

/** Stores a number of -2^53 to 2^53 in the eight bytes at `offset` of a view. */
export function putLong(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value % HIGH, true);
  view.setUint32(offset + 4, Math.floor(value / HIGH), true);
}
