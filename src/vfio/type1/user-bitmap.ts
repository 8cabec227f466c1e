/**
 * Dirty bitmaps in the program's memory (kernel: verify_bitmap_size, update_user_bitmap). A bit is
 * a page.
 */
import type { ArgumentBuffer } from '../../abi/argument-buffer.js';
import { fail } from '../../abi/errno.js';
import { VfioBitmap } from '../../abi/vfio-structs.js';
import type { Caller } from '../../file/caller.js';
import type { Mapping } from '../../ioas/mapping.js';
import type { PageBitmap } from '../../ioas/page-bitmap.js';
import { PAGE_SIZE } from '../../mm/address-space.js';
import type { Type1 } from './type1.js';

/** The most bytes that a bitmap may have (kernel: DIRTY_BITMAP_SIZE_MAX). */
export const DIRTY_BITMAP_SIZE_MAX = 0x1000_0000;

const WORD_BITS = 64;
const WORD_BYTES = 8;
const HALF_BYTES = 4;

/**
 * Checks the `vfio_bitmap` at `offset` of a call for a range of `bytes` bytes and returns where its
 * data is. EINVAL: not user memory, or a size that is 0, above the limit or too small for the range
 * in pages of the size that the bitmap states.
 */
export function bitmapAddress(
  { mm }: Caller,
  buffer: ArgumentBuffer,
  offset: number,
  bytes: number,
): number {
  const size = buffer.u64(offset + VfioBitmap.at.size);
  const data = buffer.u64(offset + VfioBitmap.at.data);
  if (data + size > mm.taskSize) fail('EINVAL');
  const pages = Math.floor(bytes / lowestBit(buffer, offset + VfioBitmap.at.pgsize));
  if (pages === 0 || size === 0 || size > DIRTY_BITMAP_SIZE_MAX || size < bitmapBytes(pages))
    fail('EINVAL');
  return data;
}

/** Whether the bitmap's pages are the smallest that there are: others cannot be asked for. */
export function hasSmallestPages(buffer: ArgumentBuffer, offset: number): boolean {
  return buffer.u64(offset + VfioBitmap.at.pgsize) === PAGE_SIZE;
}

/** The lowest bit that is set of 64, as a number; 1 where none is, which is refused elsewhere. */
function lowestBit(buffer: ArgumentBuffer, offset: number): number {
  const low = buffer.u32(offset);
  if (low !== 0) return (low & -low) >>> 0;
  const high = buffer.u32(offset + HALF_BYTES);
  return high === 0 ? 1 : ((high & -high) >>> 0) * 2 ** 32;
}

/** Bytes of a bitmap of this many bits: whole 64-bit words. */
function bitmapBytes(bits: number): number {
  return Math.ceil(bits / WORD_BITS) * WORD_BYTES;
}

/**
 * Writes a mapping's dirty pages into the bitmap at `address` of a range that begins at page
 * `base`. Only words that the mapping touches are written; where it does not begin on a word of the
 * range, its first word is OR-ed, else overwritten. EFAULT where a byte cannot be read or written.
 * Pages of a pinned mapping are dirty, all of them, where some device may write any.
 *
 * The kernel shifts a mapping's log in place by its offset in the range's words and afterwards
 * clears only the bits of its pages, so that what was shifted beyond them shows up in later
 * reports. Programs see it, and so it is done here: the *residue*.
 */
export function writeUserBitmap(
  caller: Caller,
  address: number,
  base: number,
  mapping: Mapping,
  type1: Type1,
): void {
  const offset = mapping.iovaPage - base;
  const shift = offset % WORD_BITS;
  const at = address + Math.floor(offset / WORD_BITS) * WORD_BYTES;
  const bytes = bitmapBytes(mapping.pages + shift);
  const log = logWords(mapping, type1);
  if (shift > 0) {
    shiftUp(log, shift, bytes / HALF_BYTES);
    const before = new Uint8Array(WORD_BYTES);
    if (!caller.mm.copyFrom(at, before)) fail('EFAULT');
    const halves = new Uint32Array(before.buffer);
    log[0]! |= halves[0]!;
    log[1]! |= halves[1]!;
  }
  keepResidue(mapping, log, type1.residues);
  if (!caller.mm.copyTo(at, new Uint8Array(log.buffer, 0, bytes))) fail('EFAULT');
}

/** A mapping's log with one word to spare, as the kernel allocates it, in halves of words. */
function logWords(mapping: Mapping, { log: dirty, residues, writesAnywhere }: Type1): Uint32Array {
  const log = new Uint32Array((bitmapBytes(mapping.pages) + WORD_BYTES) / HALF_BYTES);
  const { pages, pinned } = mapping;
  const residue = residues.get(mapping);
  if (residue) log.set(residue, log.length - residue.length);
  // A device may write any page of a pinned mapping at any time, but where drivers pin all that
  // their devices write.
  if (pinned && writesAnywhere) setBits(log, 0, pages);
  else setWritten(log, dirty!.of(mapping), pages);
  return log;
}

function setWritten(log: Uint32Array, dirty: PageBitmap, pages: number): void {
  for (let page = dirty.nextSet(0, pages); page < pages; ) {
    const end = dirty.nextClear(page, pages);
    setBits(log, page, end - page);
    page = dirty.nextSet(end, pages);
  }
}

function setBits(log: Uint32Array, first: number, count: number): void {
  const end = first + count;
  for (let bit = first; bit < end; bit = (Math.floor(bit / 32) + 1) * 32) {
    const from = bit % 32;
    const width = Math.min(32 - from, end - bit);
    log[Math.floor(bit / 32)]! |= width === 32 ? -1 : ((1 << width) - 1) << from;
  }
}

/** Shifts the first `halves` halves up by 1 to 63 bits. */
function shiftUp(log: Uint32Array, shift: number, halves: number): void {
  const skip = shift >>> 5;
  const bits = shift & 31;
  for (let i = halves - 1; i >= 0; i--) {
    const high = log[i - skip] ?? 0;
    const low = log[i - skip - 1] ?? 0;
    log[i] = bits === 0 ? high : (high << bits) | (low >>> (32 - bits));
  }
}

/**
 * Keeps what lies behind the last page's bit. A log of a mapping that faults has none: it tells
 * what was written (R6.3).
 */
function keepResidue(
  mapping: Mapping,
  log: Uint32Array,
  residues: WeakMap<Mapping, Uint32Array>,
): void {
  if (!mapping.pinned) return;
  const first = Math.floor(mapping.pages / 32);
  const residue = log.slice(first);
  residue[0]! &= -1 << (mapping.pages % 32);
  residues.set(mapping, residue);
}
