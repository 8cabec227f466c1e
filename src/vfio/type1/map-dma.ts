/** VFIO_IOMMU_MAP_DMA (kernel: vfio_dma_do_map). */
import { ArgumentBuffer } from '../../abi/argument-buffer.js';
import { fail } from '../../abi/errno.js';
import { DmaMapFlag } from '../../abi/vfio.js';
import { DmaMap } from '../../abi/vfio-structs.js';
import { copyIn } from '../../file/argument.js';
import type { Caller } from '../../file/caller.js';
import type { IoSpace } from '../../ioas/io-space.js';
import { rangesCover } from '../../ioas/iova-ranges.js';
import { Mapping } from '../../ioas/mapping.js';
import { UserPages } from '../../ioas/user-pages.js';
import { READ, WRITE } from '../../mm/address-space.js';
import { ProcessAccount } from '../../mm/lock-account.js';
import type { Type1 } from './type1.js';

const {
  VFIO_DMA_MAP_FLAG_READ: FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE: FLAG_WRITE,
  VFIO_DMA_MAP_FLAG_VADDR: FLAG_VADDR,
  VFIO_DMA_MAP_FLAG_PINNED: FLAG_PINNED,
} = DmaMapFlag;
/** Pages of 64 bits of address: a range may end here and not beyond. */
export const ADDRESS_END = 2 ** 52;

const buffer = new ArgumentBuffer(DmaMap.size);

/**
 * Maps a range of IOVAs to the caller's memory. In this order: EFAULT, EINVAL (argsz, flags,
 * alignment), EINVAL or EOVERFLOW (wrap), EEXIST (overlap), ENOSPC (limit), EINVAL (IOVA range),
 * EFAULT or ENOMEM (pinning). With VADDR: see `updateVaddr`.
 */
export function mapDma(caller: Caller, argument: number, type1: Type1): void {
  copyIn(caller, argument, buffer, DmaMap.size);
  const flags = buffer.u32(DmaMap.at.flags);
  const { machine, space } = type1;
  const known = FLAG_READ | FLAG_WRITE | FLAG_VADDR | (machine.iopf === 'off' ? 0 : FLAG_PINNED);
  if ((flags & ~known) !== 0) fail('EINVAL');
  const permission =
    ((flags & FLAG_READ) !== 0 ? READ : 0) | ((flags & FLAG_WRITE) !== 0 ? WRITE : 0);
  const update = (flags & FLAG_VADDR) !== 0;
  const pinned = (flags & FLAG_PINNED) !== 0;
  if ((permission !== 0) === update || (update && pinned)) fail('EINVAL');

  const { at } = DmaMap;
  if ((buffer.inPage(at.iova) | buffer.inPage(at.vaddr) | buffer.inPage(at.size)) !== 0)
    fail('EINVAL');
  const iovaPage = buffer.pages(at.iova);
  const vaddrPage = buffer.pages(at.vaddr);
  const pages = buffer.pages(at.size);
  if (pages === 0) fail('EINVAL');
  if (iovaPage + pages > ADDRESS_END || vaddrPage + pages > ADDRESS_END) fail(machine.kernel.wrap);

  if (update) {
    updateVaddr(caller, space, iovaPage, vaddrPage, pages);
    return;
  }
  if (space.mappings.overlaps(iovaPage, pages)) fail('EEXIST');
  if (type1.mappingsAvailable === 0) fail('ENOSPC');
  if (!rangesCover(space.ranges, iovaPage, iovaPage + pages)) fail('EINVAL');
  const { mm } = caller;
  const source = new UserPages(mm, vaddrPage, pages, permission, type1.accountOf(mm));
  type1.map(new Mapping(iovaPage, pages, permission, source, 0, pinned));
}

/**
 * VFIO_DMA_MAP_FLAG_VADDR: gives a mapping whose address was made invalid a new one, and the caller
 * as its owner. ENOENT: no mapping; EINVAL: another range, or a valid address; ENOMEM: the caller
 * may not lock so much.
 */
function updateVaddr(
  caller: Caller,
  space: IoSpace,
  iovaPage: number,
  vaddrPage: number,
  pages: number,
): void {
  const mapping = space.mappings.firstFrom(iovaPage);
  if (!mapping || mapping.iovaPage >= iovaPage + pages) fail('ENOENT');
  const { source } = mapping;
  if (!mapping.vaddrInvalid || mapping.iovaPage !== iovaPage || mapping.pages !== pages)
    fail('EINVAL');
  const { mm } = caller;
  if (mm !== source.mm) source.chargeTo(new ProcessAccount(mm, mm.ipcLock));
  space.move(mapping, mm, vaddrPage);
}
