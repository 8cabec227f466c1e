/** Memory that tests have as a DMA-BUF (kernel: struct iommufd_test_dma_buf). */
import { Errno, fail } from '../../abi/errno.js';
import { DmabufGet, DmabufRevoke } from '../../abi/iommufd-test.js';
import { noIoctl, noTransfer, type VfioFile } from '../../file/file.js';
import { UserPages } from '../../ioas/user-pages.js';
import { type AddressSpace, PAGE_SIZE, READ, WRITE } from '../../mm/address-space.js';
import type { Call } from '../call.js';
import type { DmaBuf } from '../dma-buf.js';

const PAGES_MAX = 512;
/** Frames of such memory, apart from all others. */
const FRAMES = 2 ** 50;

/** Its pages, which nobody but a page table reaches, and which are charged to nobody. */
class DmaBufSpace implements AddressSpace {
  readonly id = 0;
  readonly taskSize = 0;
  readonly invalidations = 0;
  readonly lockedPages = 0;
  readonly lockLimitPages = Number.POSITIVE_INFINITY;
  readonly ipcLock = true;

  constructor(private readonly firstFrame: number) {}

  copyFrom(): boolean {
    return false;
  }

  copyTo(): boolean {
    return false;
  }

  pageIn(): number {
    return 0;
  }

  pin(first: number, count: number, _access: number, frames: Float64Array): number {
    for (let i = 0; i < count; i++) frames[i] = this.firstFrame + first + i;
    return count === 0 ? -Errno.EFAULT : count;
  }

  unpin(): void {}

  accountLocked(): void {}

  subscribe(): () => void {
    return () => {};
  }
}

class DmaBufFile implements VfioFile, DmaBuf {
  readonly kind = 'iommufd-test';
  readonly name = '/dmabuf:';
  readonly ioctl = noIoctl;
  readonly read = noTransfer;
  readonly write = noTransfer;
  isRevoked = false;
  private static nextFrame = FRAMES;
  private readonly space: DmaBufSpace;

  constructor(private readonly pageCount: number) {
    this.space = new DmaBufSpace(DmaBufFile.nextFrame);
    DmaBufFile.nextFrame += pageCount;
  }

  pages(start: bigint, length: bigint): UserPages {
    if (start + length > BigInt(this.pageCount * PAGE_SIZE)) fail('EINVAL');
    if (this.isRevoked) fail('ENODEV');
    return new UserPages(this.space, 0, this.pageCount, READ | WRITE, null, true);
  }

  mmap(): never {
    fail('EINVAL');
  }

  release(): void {}
}

/** DMABUF_GET: returns the descriptor. EINVAL: no length, or more than 2 MiB; EMFILE. */
export function dmabufGet(call: Call): void {
  const pages = Math.ceil(call.buffer.u32(DmabufGet.at.length) / PAGE_SIZE);
  if (pages === 0 || pages > PAGES_MAX) fail('EINVAL');
  call.result = call.caller.install(new DmaBufFile(pages));
}

/** DMABUF_REVOKE: its memory is gone, or there again. EBADF; EINVAL, EOPNOTSUPP: no such memory. */
export function dmabufRevoke({ buffer, caller }: Call): void {
  const { at } = DmabufRevoke;
  const found = caller.file(buffer.s32(at.dmabuf_fd)) ?? fail('EBADF');
  if (found.kind !== 'vfio' || !(found.file instanceof DmaBufFile)) return fail('EINVAL');
  found.file.isRevoked = buffer.u32(at.revoked) !== 0;
}
