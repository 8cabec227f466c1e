/** Bodies of vfio-user messages; what is vfio's own is in abi/vfio-structs.ts. */
import { flags32, structLayout, u16, u32, u64 } from '../abi/layout.js';
import { UserDmaFlag, UserUnmapFlag } from './protocol.js';

/** Before every body; `size` counts it too. */
export const Header = structLayout('vfio_user_header', {
  id: u16,
  command: u16,
  size: u32,
  flags: u32,
  error: u32,
});
export const HEADER_BYTES = Header.size;

/** JSON text with a zero at its end may follow. */
export const Version = structLayout('vfio_user_version', { major: u16, minor: u16 });

export const UserDmaMap = structLayout('vfio_user_dma_map', {
  argsz: u32,
  flags: flags32(UserDmaFlag),
  offset: u64,
  address: u64,
  size: u64,
});

/** With GET_DIRTY_BITMAP a `UserBitmap` follows. */
export const UserDmaUnmap = structLayout('vfio_user_dma_unmap', {
  argsz: u32,
  flags: flags32(UserUnmapFlag),
  address: u64,
  size: u64,
});

/** `size` in bytes; in a reply the bitmap follows. */
export const UserBitmap = structLayout('vfio_user_bitmap', { pgsize: u64, size: u64 });

/** In a reply entries follow, where there are some. */
export const RegionIoFds = structLayout('vfio_user_region_io_fds_request', {
  argsz: u32,
  flags: u32,
  index: u32,
  count: u32,
});

/** REGION_READ and REGION_WRITE; data of `count` bytes follows. */
export const RegionAccess = structLayout('vfio_user_region_access', {
  offset: u64,
  region: u32,
  count: u32,
});

/** DMA_READ and DMA_WRITE; data of `count` bytes follows. */
export const DmaAccess = structLayout('vfio_user_dma_access', { address: u64, count: u64 });

/** REGION_WRITE_MULTI: writes follow; its reply has how many were done. */
export const WriteMulti = structLayout('vfio_user_region_write_multi', { count: u64 });
export const WriteMultiEntry = structLayout('vfio_user_write', {
  offset: u64,
  region: u32,
  count: u32,
  data: u64,
});
