/** VFIO_IOMMU_DIRTY_PAGES (kernel: vfio_iommu_type1_dirty_pages). */
import { ArgumentBuffer } from '../../abi/argument-buffer.js';
import { fail } from '../../abi/errno.js';
import { DirtyPagesFlag } from '../../abi/vfio.js';
import { DirtyBitmap, DirtyBitmapGet } from '../../abi/vfio-structs.js';
import { copyIn } from '../../file/argument.js';
import type { Caller } from '../../file/caller.js';
import { PAGE_SIZE } from '../../mm/address-space.js';
import { ADDRESS_END } from './map-dma.js';
import type { Type1 } from './type1.js';
import { bitmapAddress, hasSmallestPages, writeUserBitmap } from './user-bitmap.js';

const {
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START: START,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP: STOP,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP: GET_BITMAP,
} = DirtyPagesFlag;

const buffer = new ArgumentBuffer(DirtyBitmap.size);
const get = new ArgumentBuffer(DirtyBitmapGet.size);

/**
 * EACCES for a type1 of version 1; EFAULT; EINVAL: argsz, flags (one at a time), bitmap, range, or
 * no log is kept.
 */
export function dirtyPages(caller: Caller, argument: number, type1: Type1): void {
  if (type1.version === 1) fail('EACCES');
  copyIn(caller, argument, buffer, DirtyBitmap.size);
  const flags = buffer.u32(DirtyBitmap.at.flags);
  if (flags === START) type1.startDirtyLog();
  else if (flags === STOP) type1.stopDirtyLog();
  else if (flags === GET_BITMAP) getBitmap(caller, argument, type1);
  else fail('EINVAL');
}

function getBitmap(caller: Caller, argument: number, type1: Type1): void {
  const room = buffer.u32(DirtyBitmap.at.argsz) - DirtyBitmap.size;
  if (room < DirtyBitmapGet.size) fail('EINVAL');
  if (!caller.mm.copyFrom(argument + DirtyBitmap.size, get.bytes)) fail('EFAULT');
  const { at } = DirtyBitmapGet;
  const first = get.pages(at.iova);
  const pages = get.pages(at.size);
  const { kernel } = type1.machine;
  const end = first + pages;
  // In bytes, as the address and the size need not be aligned here.
  const beyond = (end - ADDRESS_END) * PAGE_SIZE + get.inPage(at.iova) + get.inPage(at.size);
  if (beyond > 0 || (beyond === 0 && !kernel.rangeToTheEnd)) fail(kernel.wrap);
  const address = bitmapAddress(caller, get, at['bitmap.pgsize'], get.u64(at.size));
  if (!hasSmallestPages(get, at['bitmap.pgsize']) || pages === 0) fail('EINVAL');
  if ((get.inPage(at.iova) | get.inPage(at.size)) !== 0) fail('EINVAL');
  const { log, space } = type1;
  if (log === null || space.mappings.cuts(first, end)) fail('EINVAL');
  let mapping = space.mappings.firstFrom(first);
  for (; mapping && mapping.iovaPage < end; mapping = space.mappings.after(mapping)) {
    writeUserBitmap(caller, address, first, mapping, type1);
    space.restartLog(log, mapping);
  }
}
