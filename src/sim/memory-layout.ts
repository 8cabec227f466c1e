/** Where memory of simulated programs lies, in page numbers. */

/**
 * Where the memory of a guest lies: its IOVAs from 4 GiB on, its addresses from 2 TiB on: page
 * numbers below 2^30 are small integers to V8, which a map of swapped pages is faster with.
 */
export const RAM_IOVA = 2 ** 20;
export const RAM_ADDRESS = 2 ** 29;
/** All addresses of a program from 128 KiB on. */
export const ADDRESS_SPACE_FIRST = 32;
export const ADDRESS_SPACE_PAGES = 2 ** 36 - ADDRESS_SPACE_FIRST;
