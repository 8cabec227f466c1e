/** VFIO_IOMMU_UNMAP_DMA (kernel: vfio_dma_do_unmap). */
import { ArgumentBuffer } from '../../abi/argument-buffer.js';
import { fail } from '../../abi/errno.js';
import { DmaUnmapFlag } from '../../abi/vfio.js';
import { DmaUnmap, VfioBitmap } from '../../abi/vfio-structs.js';
import { copyIn, copyOut } from '../../file/argument.js';
import type { Caller } from '../../file/caller.js';
import type { IoSpace } from '../../ioas/io-space.js';
import type { Mapping } from '../../ioas/mapping.js';
import { ADDRESS_END } from './map-dma.js';
import type { Type1 } from './type1.js';
import { bitmapAddress, hasSmallestPages, writeUserBitmap } from './user-bitmap.js';

const {
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP: FLAG_BITMAP,
  VFIO_DMA_UNMAP_FLAG_ALL: FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_VADDR: FLAG_VADDR,
} = DmaUnmapFlag;

const buffer = new ArgumentBuffer(DmaUnmap.size);
const bitmap = new ArgumentBuffer(VfioBitmap.size);

/**
 * Unmaps, or with VADDR makes addresses invalid, and reports how many bytes it was for. EFAULT;
 * EINVAL (argsz, flags, bitmap, alignment, a mapping that the range would cut); EINVAL or EOVERFLOW
 * (wrap). Nothing has changed then, but for an EFAULT in the bitmap or in the report, which come
 * after mappings went.
 */
export function unmapDma(caller: Caller, argument: number, type1: Type1): void {
  copyIn(caller, argument, buffer, DmaUnmap.size);
  const flags = buffer.u32(DmaUnmap.at.flags);
  if ((flags & ~(FLAG_BITMAP | FLAG_ALL | FLAG_VADDR)) !== 0) fail('EINVAL');
  let dirtyAt = -1;
  if ((flags & FLAG_BITMAP) !== 0) {
    if ((flags & (FLAG_ALL | FLAG_VADDR)) !== 0) fail('EINVAL');
    dirtyAt = readBitmap(caller, argument);
  }
  const range = readRange(flags, type1);
  const pages =
    (flags & FLAG_VADDR) !== 0
      ? invalidateVaddr(type1.space, range.first, range.end)
      : unmapRange(caller, type1, range.first, range.end, dirtyAt);
  buffer.setPages(DmaUnmap.at.size, pages);
  copyOut(caller, argument, buffer, DmaUnmap.size);
}

function readBitmap(caller: Caller, argument: number): number {
  if (buffer.u32(DmaUnmap.at.argsz) < DmaUnmap.size + VfioBitmap.size) fail('EINVAL');
  if (!caller.mm.copyFrom(argument + DmaUnmap.size, bitmap.bytes)) fail('EFAULT');
  return bitmapAddress(caller, bitmap, 0, buffer.u64(DmaUnmap.at.size));
}

const range = { first: 0, end: 0 };

/** The pages that the call is for; `end` is `first` where an older kernel finds nothing. */
function readRange(flags: number, type1: Type1): { first: number; end: number } {
  const { at } = DmaUnmap;
  const first = buffer.pages(at.iova);
  const pages = buffer.pages(at.size);
  if (buffer.inPage(at.iova) !== 0) fail('EINVAL');
  range.first = first;
  if ((flags & FLAG_ALL) !== 0) {
    if (first !== 0 || pages !== 0 || buffer.inPage(at.size) !== 0) fail('EINVAL');
    range.end = ADDRESS_END;
    return range;
  }
  if (pages === 0 || buffer.inPage(at.size) !== 0) fail('EINVAL');
  const end = first + pages;
  if (end > ADDRESS_END) fail(type1.machine.kernel.wrap);
  if ((flags & FLAG_BITMAP) !== 0 && (type1.log === null || !hasSmallestPages(bitmap, 0)))
    fail('EINVAL');
  if (type1.version === 2 && type1.space.mappings.cuts(first, end)) fail('EINVAL');
  range.end = end === ADDRESS_END && !type1.machine.kernel.rangeToTheEnd ? first : end;
  return range;
}

/**
 * Removes the mappings that begin in the range, and for version 2 those are all that it touches.
 * Returns their pages.
 */
function unmapRange(
  caller: Caller,
  type1: Type1,
  first: number,
  end: number,
  dirtyAt: number,
): number {
  let pages = 0;
  const { space } = type1;
  for (let mapping = space.mappings.firstFrom(first); mapping; ) {
    if (mapping.iovaPage >= end || mapping.iovaPage < first) break;
    // Before the bitmap is written: what drivers have pinned is dirty in it.
    space.pins.unmapping(mapping);
    if (dirtyAt >= 0) writeUserBitmap(caller, dirtyAt, first, mapping, type1);
    const next: Mapping | null = mapping.iovaEnd < end ? space.mappings.after(mapping) : null;
    pages += mapping.pages;
    space.unmap(mapping);
    mapping = next;
  }
  return pages;
}

/**
 * VFIO_DMA_UNMAP_FLAG_VADDR. EBUSY where a driver has pinned pages, EINVAL where one is invalid
 * already; then none is changed.
 */
function invalidateVaddr(space: IoSpace, first: number, end: number): number {
  const found: Mapping[] = [];
  let mapping = space.mappings.firstFrom(first);
  for (
    ;
    mapping && mapping.iovaPage < end && mapping.iovaPage >= first;
    mapping = space.mappings.after(mapping)
  ) {
    if (mapping.driverPins !== null) fail('EBUSY');
    if (mapping.vaddrInvalid) fail('EINVAL');
    found.push(mapping);
  }
  for (const each of found) space.invalidateVaddr(each);
  return found.reduce((pages, each) => pages + each.pages, 0);
}
