/**
 * DMA_MAP and DMA_UNMAP: what of its memory a client has shared, as mappings of the device's I/O
 * address space (section numbers are of docs/vfio-user.md).
 */

import { fstatSync } from 'node:fs';
import { Errno, fail, VfioError } from '../abi/errno.js';
import { MAP_NORESERVE, MAP_SHARED, PROT_READ, PROT_WRITE } from '../abi/linux.js';
import type { IoSpace } from '../ioas/io-space.js';
import { Mapping } from '../ioas/mapping.js';
import { UserPages } from '../ioas/user-pages.js';
import { type AddressSpace, PAGE_SIZE, READ, WRITE } from '../mm/address-space.js';
import { errno, mmap, munmap } from '../mm/process/libc.js';
import { UserDmaFlag, UserUnmapFlag } from '../vfio-user/protocol.js';
import { UserBitmap, UserDmaMap, UserDmaUnmap } from '../vfio-user/structs.js';
import { type ClientMemory, fileTransfer } from './client-memory.js';
import type { DirtyLogging } from './dirty-logging.js';
import type { ForeignSpace } from './foreign-space.js';
import { bufferOf, type Reply, type Request, readBody } from './request.js';

const { READ: MAY_READ, WRITE: MAY_WRITE, MMAP, FILE_IO } = UserDmaFlag;
const { GET_DIRTY_BITMAP, ALL } = UserUnmapFlag;
/** As libvfio-user has it. */
const SIZE_MOST = 8 * 2 ** 40;
const REGIONS_MOST = 65535;
/** One more than the last IOVA page: the page table has 48 bits. */
const IOVA_END = 2 ** 36;
const ARGSZ_MOST = 2 ** 20;
/** In the reply to DMA_UNMAP. */
const BITMAP_BEGIN = UserDmaUnmap.size + UserBitmap.size;

interface Region {
  readonly mapping: Mapping;
  readonly permission: number;
  /** Of the file, in bytes. */
  readonly offset: number;
  /** `device:inode` of the file; '' where there is none. */
  readonly file: string;
  /** Gives back what the region holds. */
  readonly close: () => void;
}

const map = bufferOf(UserDmaMap);
const unmap = bufferOf(UserDmaUnmap);
const bitmap = bufferOf(UserBitmap);

export class DmaRegions {
  private readonly regions = new Map<number, Region>();
  /** Frames of regions that are gone may be in use still: see `settle`. */
  private readonly left: (() => void)[] = [];

  /** `messages`: what has no descriptor is reached through it. */
  constructor(
    private readonly space: IoSpace,
    private readonly memory: ClientMemory,
    private readonly messages: ForeignSpace,
    private readonly logging: DirtyLogging,
  ) {}

  /**
   * EINVAL: body, flags, alignment, addresses beyond 48 bits, another region under the same
   * addresses, too many; ENOSPC: more than 8 TiB; EEXIST: an overlap; and what mmap(2) of the
   * descriptor says. The same region once more is no error.
   */
  map({ body, descriptors }: Request): void {
    readBody(body, 0, map);
    const { at } = UserDmaMap;
    if (map.u32(at.argsz) < UserDmaMap.size) fail('EINVAL');
    const flags = map.u32(at.flags);
    const isSent = descriptors.length > 0;
    if ((flags & (MMAP | FILE_IO)) !== 0 && !isSent) fail('EINVAL');
    if ((flags & MMAP) !== 0 && (flags & FILE_IO) !== 0) fail('EINVAL');
    if ((flags & ~(MAY_READ | MAY_WRITE | MMAP | FILE_IO)) !== 0) fail('EINVAL');
    if (map.u64(at.size) > SIZE_MOST) fail('ENOSPC');
    const [iovaPage, pages] = [map.pages(at.address), map.pages(at.size)];
    if ((map.inPage(at.address) | map.inPage(at.size) | map.inPage(at.offset)) !== 0)
      fail('EINVAL');
    if (pages === 0 || iovaPage + pages > IOVA_END) fail('EINVAL');
    const permission =
      ((flags & MAY_READ) !== 0 ? READ : 0) | ((flags & MAY_WRITE) !== 0 ? WRITE : 0);
    const offset = map.u64(at.offset);
    const file = isSent ? fileOf(descriptors[0]!) : '';
    const known = this.regions.get(iovaPage);
    if (known !== undefined && known.mapping.pages === pages) {
      const isSame =
        known.permission === permission &&
        known.file === file &&
        (!isSent || known.offset === offset);
      return isSame ? undefined : fail('EINVAL');
    }
    if (this.space.mappings.overlaps(iovaPage, pages)) fail('EEXIST');
    if (this.regions.size >= REGIONS_MOST) fail('EINVAL');
    const shared = !isSent
      ? { mm: this.messages, firstPage: iovaPage, close: () => {} }
      : (flags & FILE_IO) !== 0
        ? this.shareFile(descriptors.shift()!, map.pages(at.offset))
        : this.mapFile(descriptors[0]!, map.big(at.offset), pages, permission);
    try {
      const source = new UserPages(shared.mm, shared.firstPage, pages, permission, null);
      const mapping = new Mapping(iovaPage, pages, permission, source);
      this.space.map(mapping);
      this.regions.set(iovaPage, { mapping, permission, offset, file, close: shared.close });
    } catch (error) {
      shared.close();
      throw error;
    }
  }

  /**
   * EINVAL: body, flags, or what the dirty log says; ENOENT: no region has exactly these addresses.
   */
  unmap({ body }: Request, reply: Reply): void {
    readBody(body, 0, unmap);
    const { at } = UserDmaUnmap;
    const [argsz, flags] = [unmap.u32(at.argsz), unmap.u32(at.flags)];
    const [address, size] = [unmap.big(at.address), unmap.big(at.size)];
    if (flags !== 0 && flags !== GET_DIRTY_BITMAP && flags !== ALL) fail('EINVAL');
    if (flags === ALL && (address !== 0n || size !== 0n)) fail('EINVAL');
    if (argsz < UserDmaUnmap.size || argsz > ARGSZ_MOST) fail('EINVAL');
    const region = this.regions.get(unmap.pages(at.address));
    const isWhole =
      region !== undefined &&
      (unmap.inPage(at.address) | unmap.inPage(at.size)) === 0 &&
      region.mapping.pages === unmap.pages(at.size);
    reply.bytes.set(unmap.bytes);
    reply.length = UserDmaUnmap.size;
    if (flags === ALL) return this.unmapAll();
    if (flags === GET_DIRTY_BITMAP) {
      readBody(body, UserDmaUnmap.size, bitmap);
      if (argsz < BITMAP_BEGIN + bitmap.u64(UserBitmap.at.size)) fail('EINVAL');
    }
    if (!isWhole) fail('ENOENT');
    if (flags === GET_DIRTY_BITMAP) this.report(region.mapping, reply);
    this.drop(region);
  }

  /** What is there of a region, while it is there still. */
  private report(mapping: Mapping, reply: Reply): void {
    const end = BITMAP_BEGIN + bitmap.u64(UserBitmap.at.size);
    const into = reply.bytes.subarray(BITMAP_BEGIN, end);
    into.fill(0);
    const pageBytes = bitmap.u64(UserBitmap.at.pgsize);
    this.logging.report(mapping.iovaPage, mapping.pages, pageBytes, into);
    reply.bytes.set(bitmap.bytes, UserDmaUnmap.size);
    reply.length = end;
  }

  unmapAll(): void {
    for (const region of [...this.regions.values()]) this.drop(region);
  }

  private drop(region: Region): void {
    this.regions.delete(region.mapping.iovaPage);
    this.space.unmap(region.mapping);
    this.left.push(region.close);
  }

  /** No DMA is under way: what regions that are gone have held is given back. */
  settle(): void {
    for (let close = this.left.pop(); close !== undefined; close = this.left.pop()) close();
  }

  private shareFile(fd: number, firstPage: number): Shared {
    const transfer = fileTransfer(fd);
    const mm = this.memory.addForeign(transfer);
    if (mm === null || firstPage * PAGE_SIZE > Number.MAX_SAFE_INTEGER) {
      transfer.close();
      return fail('EINVAL');
    }
    const { memory } = this;
    return {
      mm,
      firstPage,
      close() {
        memory.remove(mm);
        transfer.close();
      },
    };
  }

  /** Maps the file here; its descriptor is not needed any more. */
  private mapFile(fd: number, offset: bigint, pages: number, permission: number): Shared {
    const protection = (permission & WRITE) !== 0 ? PROT_READ | PROT_WRITE : PROT_READ;
    const bytes = pages * PAGE_SIZE;
    if (offset >= 2n ** 63n) throw new VfioError(Errno.EOVERFLOW);
    const flags = MAP_SHARED | MAP_NORESERVE;
    const address = mmap(0, bytes, protection, flags, fd, Number(offset));
    if (address === -1) throw new VfioError(errno());
    const { own } = this.memory;
    own.forgetProtections();
    return {
      mm: own,
      firstPage: address / PAGE_SIZE,
      close() {
        munmap(address, bytes);
        own.forgetProtections();
      },
    };
  }
}

interface Shared {
  readonly mm: AddressSpace;
  readonly firstPage: number;
  close(): void;
}

function fileOf(fd: number): string {
  const { dev, ino } = fstatSync(fd);
  return `${dev}:${ino}`;
}
