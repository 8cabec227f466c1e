/**
 * Dirty tracking of a page table (kernel: iopt_set_dirty_tracking, iopt_read_and_clear_dirty_data):
 * exact where pages fault in; what is pinned may be written at any time, and so is always dirty.
 */
import { fail } from '../abi/errno.js';
import { HWPT_DIRTY_TRACKING_ENABLE, HWPT_GET_DIRTY_BITMAP_NO_CLEAR } from '../abi/iommufd.js';
import { HwptGetDirtyBitmap, HwptSetDirtyTracking } from '../abi/iommufd-structs.js';
import type { Caller } from '../file/caller.js';
import { DirtyLog } from '../ioas/dirty-log.js';
import type { Mapping } from '../ioas/mapping.js';
import { WRITE } from '../mm/address-space.js';
import type { Call } from './call.js';
import { PagingHwpt } from './hwpt.js';
import { ADDRESS_END, PAGE } from './ranges.js';

/** IOMMU_HWPT_SET_DIRTY_TRACKING. EOPNOTSUPP: flags; ENOENT; EOPNOTSUPP: it was made without. */
export function setDirtyTracking({ buffer, context }: Call): void {
  const { at } = HwptSetDirtyTracking;
  const flags = buffer.u32(at.flags);
  if ((flags & ~HWPT_DIRTY_TRACKING_ENABLE) !== 0) fail('EOPNOTSUPP');
  const hwpt = context.objects.get(buffer.u32(at.hwpt_id), PagingHwpt);
  if (!hwpt.tracksDirty) fail('EOPNOTSUPP');
  const { space } = hwpt.ioas;
  if ((flags !== 0) === (hwpt.log !== null)) return;
  if (hwpt.log === null) {
    hwpt.log = new DirtyLog(hwpt.domain);
    space.startLog(hwpt.log);
  } else {
    space.stopLog(hwpt.log);
    hwpt.log = null;
  }
}

/**
 * IOMMU_HWPT_GET_DIRTY_BITMAP: sets a bit for each unit of a range that has dirty pages, which are
 * clean then, unless NO_CLEAR. EOPNOTSUPP: flags, reserved; ENOENT; EOVERFLOW, EINVAL: see
 * `readRange`; EOPNOTSUPP: made without; EINVAL: no log is kept, or a part is not mapped; EFAULT.
 */
export function getDirtyBitmap({ buffer, context, caller }: Call): void {
  const { at } = HwptGetDirtyBitmap;
  const flags = buffer.u32(at.flags);
  if ((flags & ~HWPT_GET_DIRTY_BITMAP_NO_CLEAR) !== 0 || buffer.u32(at.__reserved) !== 0)
    fail('EOPNOTSUPP');
  const hwpt = context.objects.get(buffer.u32(at.hwpt_id), PagingHwpt);
  const { ioas, log } = hwpt;
  const iova = buffer.big(at.iova);
  const unit = buffer.big(at.page_size);
  const end = readRange(iova, buffer.big(at.length), unit, ioas.alignment);
  if (!hwpt.tracksDirty) fail('EOPNOTSUPP');
  if (log === null) fail('EINVAL');
  for (let place = iova; place < end; ) {
    const area = ioas.areas.firstFrom(place);
    if (area === null || area.iova > place) return fail('EINVAL');
    const stop = area.end < end ? area.end : end;
    if (area.mapping !== null) {
      const { mapping } = area;
      const first = Number((place - area.iova) / PAGE);
      const count = Number((stop - area.iova) / PAGE) - first;
      const bitmap = { caller, address: buffer.u64(at.data), iova, unit };
      for (const run of dirtyRuns(mapping, log, first, first + count))
        setBits(bitmap, area.iova + BigInt(run.first) * PAGE, BigInt(run.count) * PAGE);
      if ((flags & HWPT_GET_DIRTY_BITMAP_NO_CLEAR) === 0)
        ioas.space.iopf.dirtyReported(log, mapping, first, count);
    }
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

/** Runs of dirty pages in [first, end) of a mapping. */
function* dirtyRuns(
  mapping: Mapping,
  log: DirtyLog,
  first: number,
  end: number,
): Generator<{ first: number; count: number }, void, void> {
  if (mapping.pinned) {
    if ((mapping.permission & WRITE) !== 0) yield { first, count: end - first };
    return;
  }
  const dirty = log.of(mapping);
  for (let at = dirty.nextSet(first, end); at < end; ) {
    const stop = dirty.nextClear(at, end);
    yield { first: at, count: stop - at };
    at = dirty.nextSet(stop, end);
  }
}

/** A bitmap in the program's memory: a bit for each unit of bytes from an IOVA on. */
interface UserBitmap {
  readonly caller: Caller;
  readonly address: number;
  readonly iova: bigint;
  readonly unit: bigint;
}

/** Sets the bits of [from, from + length); the others stay. EFAULT. */
function setBits({ caller, address, iova, unit }: UserBitmap, from: bigint, length: bigint): void {
  const first = Number((from - iova) / unit);
  const last = Number((from + length - 1n - iova) / unit);
  const start = address + (first >> 3);
  const bytes = new Uint8Array((last >> 3) - (first >> 3) + 1);
  if (!caller.mm.copyFrom(start, bytes)) fail('EFAULT');
  for (let bit = first; bit <= last; bit++) bytes[(bit >> 3) - (first >> 3)]! |= 1 << (bit & 7);
  if (!caller.mm.copyTo(start, bytes)) fail('EFAULT');
}
