/** Sizes in bytes, as users write them and as they are shown: one grammar for options and files. */

const UNITS = 'KMGT';
const GRAMMAR = /^(?:0x[0-9a-f]+|(\d+)(?:([KMGT])(?:iB)?)?)$/i;

/** What an error says where something else stands. */
export const SIZE_EXPECTED = 'a number of bytes, like 4096, 0x1000, 512K or 64M';

/**
 * Bytes of `4096`, `0x1000`, `512K` or `64MiB`: decimal with a suffix K, M, G or T (powers of 1024,
 * `iB` behind it or not, in either case), or hexadecimal without one. NaN for anything else, a
 * number from a file that is negative or no integer, and more than 2^53 - 1.
 */
export function parseSize(value: string | number): number {
  const match = GRAMMAR.exec(String(value));
  if (match === null) return Number.NaN;
  const [whole, digits, suffix = ''] = match;
  const scale = suffix === '' ? 1 : 1024 ** (UNITS.indexOf(suffix.toUpperCase()) + 1);
  const bytes = Number(digits ?? whole) * scale;
  return Number.isSafeInteger(bytes) ? bytes : Number.NaN;
}

/** `24.8 MiB`, `240 MiB`, `0 B`: one decimal below 100 where it is not 0. */
export function formatSize(bytes: number): string {
  let unit = 0;
  let amount = bytes;
  while (Math.abs(amount) >= 1024 && unit < UNITS.length) {
    amount /= 1024;
    unit++;
  }
  const shown = Number(amount.toFixed(Math.abs(amount) < 100 ? 1 : 0));
  return `${shown} ${unit === 0 ? 'B' : `${UNITS[unit - 1]}iB`}`;
}
