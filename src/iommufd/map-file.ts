/** Maps of files, which do not depend on a process (kernel: iommufd_ioas_map_file). */
import { Errno, fail } from '../abi/errno.js';
import { IoasMapFlag } from '../abi/iommufd.js';
import { IoasChangeProcess, IoasMapFile } from '../abi/iommufd-structs.js';
import type { CallerFile } from '../file/caller.js';
import { UserPages } from '../ioas/user-pages.js';
import type { AddressSpace } from '../mm/address-space.js';
import { type Call, respond } from './call.js';
import { isDmaBuf } from './dma-buf.js';
import { Ioas } from './ioas.js';
import { HIGHEST, permissionOf } from './ioas-calls.js';
import type { PinAccount } from './locked-memory.js';
import { ADDRESS_END, PAGE } from './ranges.js';

const {
  IOMMU_IOAS_MAP_FIXED_IOVA: FIXED_IOVA,
  IOMMU_IOAS_MAP_WRITEABLE: WRITEABLE,
  IOMMU_IOAS_MAP_READABLE: READABLE,
} = IoasMapFlag;

/** What is behind a file without memory, which pinning alone finds out. */
const noMemory: AddressSpace = {
  id: 0,
  taskSize: 0,
  invalidations: 0,
  lockedPages: 0,
  lockLimitPages: Number.POSITIVE_INFINITY,
  ipcLock: true,
  copyFrom: () => false,
  copyTo: () => false,
  pageIn: () => 0,
  pin: () => -Errno.EINVAL,
  unpin: () => {},
  accountLocked: () => {},
  subscribe: () => () => {},
};

/**
 * IOMMU_IOAS_MAP_FILE. In this order: EOPNOTSUPP (flags), EOVERFLOW (2^64 - 1), EINVAL (neither
 * way), ENOENT, EINVAL (no length), EOVERFLOW (it wraps), EBADF; of a DMA-BUF EINVAL, ENODEV;
 * EINVAL (too long); and what `Ioas.map` answers: EINVAL where pages are pinned that the file has
 * not. EFAULT where the struct cannot be written back: then it is mapped.
 */
export function ioasMapFile(call: Call): void {
  const { buffer, context, caller } = call;
  const { at } = IoasMapFile;
  const flags = buffer.u32(at.flags);
  if ((flags & ~(FIXED_IOVA | WRITEABLE | READABLE)) !== 0) fail('EOPNOTSUPP');
  const iova = buffer.big(at.iova);
  const length = buffer.big(at.length);
  if (iova === HIGHEST || length === HIGHEST) fail('EOVERFLOW');
  if ((flags & (WRITEABLE | READABLE)) === 0) fail('EINVAL');
  const ioas = context.objects.get(buffer.u32(at.ioas_id), Ioas);
  const from = buffer.big(at.start);
  if (length === 0n) fail('EINVAL');
  if (from + length > ADDRESS_END) fail('EOVERFLOW');
  const found = caller.file(buffer.s32(at.fd)) ?? fail('EBADF');
  if (length > HIGHEST - PAGE) fail('EINVAL');
  const permission = permissionOf(flags);
  const start = from % PAGE;
  let source: UserPages;
  if (found.kind === 'vfio' && isDmaBuf(found.file)) source = found.file.pages(from, length);
  else {
    const pages = Number((start + length + PAGE - 1n) / PAGE);
    const account = context.accountOf(caller.mm);
    const first = Number(from / PAGE);
    source = new UserPages(memoryOf(found), first, pages, permission, account, true, true);
  }
  const fixed = (flags & FIXED_IOVA) === 0 ? null : iova;
  source.hold();
  try {
    buffer.setBig(at.iova, ioas.map([{ source, start, length }], length, permission, fixed, from));
  } finally {
    source.drop();
  }
  respond(call);
}

function memoryOf(file: CallerFile): AddressSpace {
  return (file.kind === 'other' ? file.memory?.() : null) ?? noMemory;
}

/**
 * IOMMU_IOAS_CHANGE_PROCESS: from now on the calling process pays for what is mapped. Without a
 * limit nothing is charged anew, and VmPin of either stays as it was. EOPNOTSUPP; EINVAL: a map is
 * of memory, and not of a file; ENOMEM.
 */
export function changeProcess({ buffer, context, caller }: Call): void {
  if (buffer.u32(IoasChangeProcess.at.__reserved) !== 0) fail('EOPNOTSUPP');
  const sources = new Set<UserPages>();
  for (const object of context.objects)
    if (object instanceof Ioas) for (const { source } of object.areas) sources.add(source);
  for (const { isFile } of sources) if (!isFile) fail('EINVAL');
  const moved: { source: UserPages; from: PinAccount }[] = [];
  try {
    for (const source of sources) {
      const from = source.payer as PinAccount;
      const { account, moves } = from.of(caller.mm);
      if (moves) source.chargeTo(account);
      else source.payBy(account);
      moved.push({ source, from });
    }
  } catch (error) {
    for (const { source, from } of moved) source.chargeTo(from);
    throw error;
  }
}
