/** Accesses that a test makes, each with a file of its own (kernel: struct selftest_access). */
import { fail } from '../../abi/errno.js';
import {
  AccessPages,
  AccessReplaceIoas,
  AccessRw,
  CreateAccess,
  DestroyAccessPages,
  MockAccess,
} from '../../abi/iommufd-test.js';
import type { Caller } from '../../file/caller.js';
import { noIoctl, noMapping, noTransfer, type VfioFile } from '../../file/file.js';
import { type Call, respond, respondWithFile } from '../call.js';
import { PAGE } from '../ranges.js';
import { IoasAccess } from './access.js';
import { checkPages } from './memory-checks.js';
import { syzIova } from './syz.js';

const LENGTH_MAX = 16n << 20n;
const { WRITE, RW_SLOW_PATH, SYZ, CREATE_NEEDS_PIN_PAGES } = MockAccess;

interface PinnedItem {
  readonly id: number;
  readonly iova: bigint;
  readonly length: bigint;
}

class AccessFile implements VfioFile {
  readonly kind = 'iommufd-test';
  readonly name = 'anon_inode:[iommufd_test_staccess]';
  readonly ioctl = noIoctl;
  readonly read = noTransfer;
  readonly write = noTransfer;
  readonly mmap = noMapping;
  readonly access: IoasAccess;
  private readonly items: PinnedItem[] = [];
  private nextItem = 0;

  constructor(
    context: Call['context'],
    readonly pins: boolean,
  ) {
    const unmapping = (first: bigint, end: bigint): void => this.unpinAll(first, end);
    this.access = new IoasAccess(context, { pins, unmapping });
  }

  release(): void {
    this.unpinAll(0n, 1n << 64n);
    this.access.end();
  }

  /** Notes what was pinned, and returns its number. */
  add(iova: bigint, length: bigint): number {
    const id = this.nextItem++;
    this.items.push({ id, iova, length });
    return id;
  }

  /** Gives what was pinned back. ENOENT: there is no such number. */
  unpin(id: number): void {
    const index = this.items.findIndex((item) => item.id === id);
    if (index < 0) fail('ENOENT');
    const [item] = this.items.splice(index, 1);
    this.access.unpin(item!.iova, item!.length);
  }

  private unpinAll(first: bigint, end: bigint): void {
    for (const { id, iova, length } of [...this.items])
      if (iova < end && iova + length > first) this.unpin(id);
  }
}

/** The access that a descriptor is. EBADFD. */
function accessFile(caller: Caller, fd: number): AccessFile {
  const found = caller.file(fd);
  if (found?.kind !== 'vfio' || !(found.file instanceof AccessFile)) return fail('EBADFD');
  return found.file;
}

/** CREATE_ACCESS. EOPNOTSUPP: flags; ENOENT, EADDRINUSE: see `IoasAccess`; EMFILE, EFAULT. */
export function createAccess(call: Call): void {
  const { buffer, context } = call;
  const { at } = CreateAccess;
  const flags = buffer.u32(at.flags);
  if ((flags & ~CREATE_NEEDS_PIN_PAGES) !== 0) fail('EOPNOTSUPP');
  const file = new AccessFile(context, flags !== 0);
  respondWithFile(call, file, (fd) => {
    file.access.attach(buffer.u32(at.id));
    buffer.setU32(at.out_access_fd, fd);
  });
}

/** ACCESS_REPLACE_IOAS. EBADFD; see `IoasAccess.replace`. */
export function accessReplaceIoas({ buffer, caller }: Call): void {
  const { at } = AccessReplaceIoas;
  accessFile(caller, buffer.u32(at.id)).access.replace(buffer.u32(at.ioas_id));
}

/**
 * ACCESS_PAGES: pins, and tells whether it has got the pages at an address of the program (0: does
 * not look). ENOMEM: more than 16 MiB; EOPNOTSUPP: flags; EBADFD; EOPNOTSUPP: it was made without
 * pins; see `IoasAccess.pin`; EBADE: other pages; EFAULT.
 */
export function accessPages(call: Call): void {
  const { buffer, caller } = call;
  const { at } = AccessPages;
  const length = buffer.big(at.length);
  if (length > LENGTH_MAX) fail('ENOMEM');
  const flags = buffer.u32(at.flags);
  if ((flags & ~(WRITE | SYZ)) !== 0) fail('EOPNOTSUPP');
  const file = accessFile(caller, buffer.u32(at.id));
  if (!file.pins) fail('EOPNOTSUPP');
  const { access } = file;
  const iova = (flags & SYZ) === 0 ? buffer.big(at.iova) : syzIova(access.ioas, buffer, at.iova);
  const frames = access.pin(iova, length, (flags & WRITE) !== 0);
  try {
    const address = buffer.u64(at.uptr);
    if (address !== 0) checkPages(caller.mm, address - Number(iova % PAGE), frames);
    const id = file.add(iova, length);
    buffer.setU32(at.out_access_pages_id, id);
    respond(call);
  } catch (error) {
    access.unpin(iova, length);
    throw error;
  }
}

/** DESTROY_ACCESS_PAGES. EBADFD, ENOENT. */
export function destroyAccessPages({ buffer, caller }: Call): void {
  const { at } = DestroyAccessPages;
  accessFile(caller, buffer.u32(at.id)).unpin(buffer.u32(at.access_pages_id));
}

/**
 * ACCESS_RW: copies between an address of the program and what is mapped. ENOMEM: more than 16 MiB;
 * EOPNOTSUPP: flags; EBADFD; EFAULT; see `IoasAccess.readWrite`.
 */
export function accessRw({ buffer, caller }: Call): void {
  const { at } = AccessRw;
  const length = buffer.big(at.length);
  if (length > LENGTH_MAX) fail('ENOMEM');
  const flags = buffer.u32(at.flags);
  if ((flags & ~(WRITE | RW_SLOW_PATH | SYZ)) !== 0) fail('EOPNOTSUPP');
  const { access } = accessFile(caller, buffer.u32(at.id));
  const bytes = new Uint8Array(Number(length));
  const address = buffer.u64(at.uptr);
  const write = (flags & WRITE) !== 0;
  if (write && !caller.mm.copyFrom(address, bytes)) fail('EFAULT');
  const iova = (flags & SYZ) === 0 ? buffer.big(at.iova) : syzIova(access.ioas, buffer, at.iova);
  access.readWrite(iova, bytes, write);
  if (!write && !caller.mm.copyTo(address, bytes)) fail('EFAULT');
}
