import type { UserPages } from '../ioas/user-pages.js';

/** A descriptor whose memory IOAS_MAP_FILE maps as devices have it (kernel: struct dma_buf). */
export interface DmaBuf {
  /** Its memory, so many bytes from `start` on. EINVAL: it is not so long; ENODEV: it is gone. */
  pages(start: bigint, length: bigint): UserPages;
}

export function isDmaBuf(file: object): file is DmaBuf {
  return 'pages' in file;
}
