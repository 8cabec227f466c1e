/** Dirty bitmaps in the program's memory (kernel: verify_bitmap_size, update_user_bitmap). A bit is a page. */
import type { ArgumentBuffer } from '../../abi/argument-buffer.js';
import { fail } from '../../abi/errno.js';
import { VfioBitmap } from '../../abi/vfio-structs.js';
import { PAGE_SIZE } from '../../mm/address-space.js';
import type { Caller } from '../file.js';
import type { Mapping } from './mapping.js';

/** The most bytes that a bitmap may have (kernel: DIRTY_BITMAP_SIZE_MAX). */
export const DIRTY_BITMAP_SIZE_MAX = 0x1000_0000;

const WORD_BITS = 64;
const WORD_BYTES = 8;
/** One more than the last address of user space on x86-64 with 4-level paging (TASK_SIZE_MAX). */
const USER_END = 2 ** 47 - PAGE_SIZE;

/**
 * Checks the `vfio_bitmap` at `offset` of a call for a range of `pages` pages and returns where its data is. EINVAL: not user
 * memory, a page size other than the smallest, a size that is 0, above the limit or too small for the range.
 */
export function bitmapAddress(buffer: ArgumentBuffer, offset: number, pages: number): number {
  const pageSize = buffer.u64(offset + VfioBitmap.at.pgsize);
  const size = buffer.u64(offset + VfioBitmap.at.size);
  const data = buffer.u64(offset + VfioBitmap.at.data);
  if (data + size > USER_END) fail('EINVAL');
  if (pageSize !== PAGE_SIZE) fail('EINVAL');
  if (size === 0 || size > DIRTY_BITMAP_SIZE_MAX || size < bitmapBytes(pages)) fail('EINVAL');
  return data;
}

/** Bytes of a bitmap of this many bits: whole 64-bit words. */
export function bitmapBytes(bits: number): number {
  return Math.ceil(bits / WORD_BITS) * WORD_BYTES;
}

/**
 * Writes a mapping's dirty pages into the bitmap at `address` of a range that begins at page `base`. Only words that the
 * mapping touches are written; where it does not begin on a word of the range, its first word is OR-ed, else overwritten.
 * EFAULT where a byte cannot be read or written.
 */
export function writeUserBitmap(caller: Caller, address: number, base: number, mapping: Mapping): void {
  const offset = mapping.iovaPage - base;
  const shift = offset % WORD_BITS;
  const at = address + Math.floor(offset / WORD_BITS) * WORD_BYTES;
  const bytes = new Uint8Array(bitmapBytes(mapping.pages + shift));
  setDirtyBits(bytes, shift, mapping);
  if (shift > 0) {
    const before = new Uint8Array(WORD_BYTES);
    if (!caller.mm.copyFrom(at, before)) fail('EFAULT');
    for (let i = 0; i < WORD_BYTES; i++) bytes[i]! |= before[i]!;
  }
  if (!caller.mm.copyTo(at, bytes)) fail('EFAULT');
}

/** All pages of a pinned mapping count as written: a device may write them at any time. */
function setDirtyBits(bytes: Uint8Array, shift: number, mapping: Mapping): void {
  if (mapping.pinned) {
    setBits(bytes, shift, mapping.pages);
    return;
  }
  const { dirty } = mapping;
  if (!dirty) return;
  for (let page = dirty.nextSet(0, mapping.pages); page < mapping.pages; ) {
    const end = dirty.nextClear(page, mapping.pages);
    setBits(bytes, shift + page, end - page);
    page = dirty.nextSet(end, mapping.pages);
  }
}

function setBits(bytes: Uint8Array, first: number, count: number): void {
  const end = first + count;
  for (let bit = first; bit < end; ) {
    if (bit % 8 === 0 && bit + 8 <= end) {
      bytes[bit / 8] = 0xff;
      bit += 8;
    } else {
      bytes[Math.floor(bit / 8)]! |= 1 << (bit % 8);
      bit++;
    }
  }
}
