/**
 * Dirty tracking of a page table (kernel: iopt_set_dirty_tracking, iopt_read_and_clear_dirty_data).
 */
import { fail } from '../abi/errno.js';
import { HWPT_DIRTY_TRACKING_ENABLE, HWPT_GET_DIRTY_BITMAP_NO_CLEAR } from '../abi/iommufd.js';
import { HwptGetDirtyBitmap, HwptSetDirtyTracking } from '../abi/iommufd-structs.js';
import type { Caller } from '../file/caller.js';
import type { Call } from './call.js';
import { PagingHwpt } from './hwpt.js';
import { ADDRESS_END, type ByteRange } from './ranges.js';

/** IOMMU_HWPT_SET_DIRTY_TRACKING. EOPNOTSUPP: flags; ENOENT; EOPNOTSUPP: it was made without. */
export function setDirtyTracking({ buffer, context }: Call): void {
  const { at } = HwptSetDirtyTracking;
  const flags = buffer.u32(at.flags);
  if ((flags & ~HWPT_DIRTY_TRACKING_ENABLE) !== 0) fail('EOPNOTSUPP');
  const { table } = context.objects.get(buffer.u32(at.hwpt_id), PagingHwpt);
  if (!table.tracksDirty) fail('EOPNOTSUPP');
  table.setLogging(flags !== 0);
}

/**
 * IOMMU_HWPT_GET_DIRTY_BITMAP: sets a bit for each unit of a range that has dirty pages, which are
 * clean then, unless NO_CLEAR. EOPNOTSUPP: flags, reserved; ENOENT; EOVERFLOW, EINVAL: see
 * `readRange`; EOPNOTSUPP: made without. It ends, and answers 0, where nothing is mapped, no log is
 * kept, or the bitmap cannot be written.
 */
export function getDirtyBitmap({ buffer, context, caller }: Call): void {
  const { at } = HwptGetDirtyBitmap;
  const flags = buffer.u32(at.flags);
  if ((flags & ~HWPT_GET_DIRTY_BITMAP_NO_CLEAR) !== 0 || buffer.u32(at.__reserved) !== 0)
    fail('EOPNOTSUPP');
  const { ioas, table } = context.objects.get(buffer.u32(at.hwpt_id), PagingHwpt);
  const iova = buffer.big(at.iova);
  const unit = buffer.big(at.page_size);
  const end = readRange(iova, buffer.big(at.length), unit, ioas.alignment);
  if (!table.tracksDirty) fail('EOPNOTSUPP');
  const bitmap = { caller, address: buffer.u64(at.data), iova, unit };
  const clear = (flags & HWPT_GET_DIRTY_BITMAP_NO_CLEAR) === 0;
  for (let place = iova; place < end; ) {
    const area = ioas.areas.firstFrom(place);
    if (area === null || area.iova > place) return;
    const stop = area.end < end ? area.end : end;
    for (const dirty of table.dirtyRanges(area, place, stop, clear))
      if (!setBits(bitmap, dirty)) return;
    place = stop;
  }
}

/**
 * The end of a range. EOVERFLOW: beyond 64 bits; EINVAL: not aligned to the page table's entries or
 * to the units, of which there must be some.
 */
function readRange(iova: bigint, length: bigint, unit: bigint, alignment: bigint): bigint {
  // A length of 0 is one that wraps.
  const end = length === 0n ? ADDRESS_END + iova : iova + length;
  if (end > ADDRESS_END) fail('EOVERFLOW');
  if (((iova | end) & (alignment - 1n)) !== 0n || unit === 0n) fail('EINVAL');
  if (((iova | end) & (unit - 1n)) !== 0n) fail('EINVAL');
  return end;
}

/** A bitmap in the program's memory: a bit for each unit of bytes from an IOVA on. */
interface UserBitmap {
  readonly caller: Caller;
  readonly address: number;
  readonly iova: bigint;
  readonly unit: bigint;
}

/** Sets the bits of a range; the others stay. False: they cannot be written. */
function setBits({ caller, address, iova, unit }: UserBitmap, dirty: ByteRange): boolean {
  const first = Number((dirty.first - iova) / unit);
  const last = Number((dirty.end - 1n - iova) / unit);
  const start = address + (first >> 3);
  const bytes = new Uint8Array((last >> 3) - (first >> 3) + 1);
  if (!caller.mm.copyFrom(start, bytes)) return false;
  for (let bit = first; bit <= last; bit++) bytes[(bit >> 3) - (first >> 3)]! |= 1 << (bit & 7);
  return caller.mm.copyTo(start, bytes);
}
