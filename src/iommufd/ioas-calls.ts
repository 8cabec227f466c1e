/** The calls on an IOAS (kernel: drivers/iommu/iommufd/ioas.c). */
import { fail } from '../abi/errno.js';
import { IoasMapFlag } from '../abi/iommufd.js';
import {
  IoasAlloc,
  IoasAllowIovas,
  IoasCopy,
  IoasIovaRanges,
  IoasMap,
  IoasUnmap,
  IovaRangeStruct,
} from '../abi/iommufd-structs.js';
import { readStruct, writeStruct } from '../abi/layout.js';
import type { Caller } from '../file/caller.js';
import { UserPages } from '../ioas/user-pages.js';
import { READ, WRITE } from '../mm/address-space.js';
import { type Call, respond } from './call.js';
import type { IommufdContext } from './context.js';
import { Ioas } from './ioas.js';
import { ADDRESS_END, type ByteRange, overlap, PAGE } from './ranges.js';

const {
  IOMMU_IOAS_MAP_FIXED_IOVA: FIXED_IOVA,
  IOMMU_IOAS_MAP_WRITEABLE: WRITEABLE,
  IOMMU_IOAS_MAP_READABLE: READABLE,
} = IoasMapFlag;
/** ULONG_MAX: no address or length may be so large. */
export const HIGHEST = ADDRESS_END - 1n;

/** IOMMU_IOAS_ALLOC. EOPNOTSUPP: flags; EFAULT: then there is none. */
export function ioasAlloc(call: Call): void {
  const { buffer, context } = call;
  if (buffer.u32(IoasAlloc.at.flags) !== 0) fail('EOPNOTSUPP');
  const ioas = new Ioas(context.machine);
  context.objects.add(ioas);
  buffer.setU32(IoasAlloc.at.out_ioas_id, ioas.id);
  try {
    respond(call);
  } catch (error) {
    context.objects.remove(ioas);
    throw error;
  }
}

/**
 * IOMMU_IOAS_IOVA_RANGES: what is not reserved, as far as there is room for it, and how many ranges
 * there are. EOPNOTSUPP, ENOENT, EFAULT; EMSGSIZE: there are more.
 */
export function ioasIovaRanges(call: Call): void {
  const { buffer, context, caller } = call;
  const { at } = IoasIovaRanges;
  if (buffer.u32(at.__reserved) !== 0) fail('EOPNOTSUPP');
  const ioas = context.objects.get(buffer.u32(at.ioas_id), Ioas);
  const room = buffer.u32(at.num_iovas);
  const gaps = ioas.reserved.gaps({ first: 0n, end: ADDRESS_END });
  gaps.slice(0, room).forEach(({ first, end }, index) => {
    const range = writeStruct(IovaRangeStruct, { start: first, last: end - 1n });
    const address = buffer.u64(at.allowed_iovas) + index * IovaRangeStruct.size;
    if (!caller.mm.copyTo(address, range)) fail('EFAULT');
  });
  buffer.setU32(at.num_iovas, gaps.length);
  buffer.setBig(at.out_iova_alignment, ioas.alignment);
  respond(call);
  if (gaps.length > room) fail('EMSGSIZE');
}

/**
 * IOMMU_IOAS_ALLOW_IOVAS: where IOVAs are chosen from now on; none: everywhere. EOPNOTSUPP, ENOENT;
 * then by range EFAULT, EINVAL (empty, or it overlaps another); EADDRINUSE: one is reserved.
 */
export function ioasAllowIovas({ buffer, context, caller }: Call): void {
  const { at } = IoasAllowIovas;
  if (buffer.u32(at.__reserved) !== 0) fail('EOPNOTSUPP');
  const ioas = context.objects.get(buffer.u32(at.ioas_id), Ioas);
  const ranges: ByteRange[] = [];
  const bytes = new Uint8Array(IovaRangeStruct.size);
  const count = buffer.u32(at.num_iovas);
  for (let index = 0; index < count; index++) {
    const address = buffer.u64(at.allowed_iovas) + index * IovaRangeStruct.size;
    if (!caller.mm.copyFrom(address, bytes)) fail('EFAULT');
    const { start, last } = readStruct(IovaRangeStruct, bytes);
    const range = { first: start as bigint, end: (last as bigint) + 1n };
    if (range.first >= range.end - 1n) fail('EINVAL');
    if (ranges.some((other) => overlap(other, range))) fail('EINVAL');
    ranges.push(range);
  }
  ioas.allow(ranges);
}

/**
 * IOMMU_IOAS_MAP. In this order: EOPNOTSUPP (flags, reserved), EOVERFLOW (2^64 - 1), EINVAL
 * (neither way), ENOENT, EOVERFLOW (the address wraps), EINVAL (no length), and what
 * `Ioas.map` answers. EFAULT where the struct cannot be written back: then it is mapped.
 */
export function ioasMap(call: Call): void {
  const { buffer, context, caller } = call;
  const { at } = IoasMap;
  const flags = buffer.u32(at.flags);
  if ((flags & ~(FIXED_IOVA | WRITEABLE | READABLE)) !== 0 || buffer.u32(at.__reserved) !== 0)
    fail('EOPNOTSUPP');
  const iova = buffer.big(at.iova);
  const length = buffer.big(at.length);
  if (iova === HIGHEST || length === HIGHEST) fail('EOVERFLOW');
  if ((flags & (WRITEABLE | READABLE)) === 0) fail('EINVAL');
  const ioas = context.objects.get(buffer.u32(at.ioas_id), Ioas);
  const fixed = (flags & FIXED_IOVA) !== 0 ? iova : null;
  const address = buffer.big(at.user_va);
  const permission = permissionOf(flags);
  const source = processMemory(caller, context, address, permission);
  buffer.setBig(at.iova, mapUserMemory(ioas, address, length, permission, fixed, source));
  respond(call);
}

/** Memory of the calling process from an address on, so many pages; it pays for their pins. */
export function processMemory(
  { mm }: Caller,
  context: IommufdContext,
  address: bigint,
  permission: number,
): (pages: number) => UserPages {
  const account = context.accountOf(mm);
  const first = Number(address / PAGE);
  // What no device may access is pinned to be read.
  return (pages) => new UserPages(mm, first, pages, permission || READ, account, true);
}

/** Maps memory that begins at a byte. EOVERFLOW: it wraps; EINVAL; see `Ioas.map`. */
export function mapUserMemory(
  ioas: Ioas,
  address: bigint,
  length: bigint,
  permission: number,
  fixed: bigint | null,
  source: (pages: number) => UserPages,
): bigint {
  if (ioas.machine.kernel.mapLengthFirst && length > HIGHEST - PAGE) fail('EINVAL');
  if (address + length > HIGHEST) fail('EOVERFLOW');
  if (length === 0n) fail('EINVAL');
  const start = address % PAGE;
  const pages = Number((start + length + PAGE - 1n) / PAGE);
  return ioas.map([{ source: source(pages), start, length }], length, permission, fixed, address);
}

/**
 * IOMMU_IOAS_COPY: maps what another IOAS has, or the same, once more; its pages are shared. In
 * this order: EOPNOTSUPP (flags), EOVERFLOW (2^64 - 1), EINVAL (neither way), ENOENT (source),
 * EINVAL, EOVERFLOW, ENOENT: see `Ioas.pieces`; ENOENT (destination); see `Ioas.map`.
 */
export function ioasCopy(call: Call): void {
  const { buffer, context } = call;
  const { at } = IoasCopy;
  const flags = buffer.u32(at.flags);
  if ((flags & ~(FIXED_IOVA | WRITEABLE | READABLE)) !== 0) fail('EOPNOTSUPP');
  const length = buffer.big(at.length);
  const to = buffer.big(at.dst_iova);
  if (length === HIGHEST || to === HIGHEST) fail('EOVERFLOW');
  if ((flags & (WRITEABLE | READABLE)) === 0) fail('EINVAL');
  const source = context.objects.get(buffer.u32(at.src_ioas_id), Ioas);
  const pieces = source.pieces(buffer.big(at.src_iova), length);
  const ioas = context.objects.get(buffer.u32(at.dst_ioas_id), Ioas);
  const fixed = (flags & FIXED_IOVA) !== 0 ? to : null;
  const [first] = pieces;
  const hint = BigInt(first!.source.vaddrPage) * PAGE + first!.start;
  buffer.setBig(at.dst_iova, ioas.map(pieces, length, permissionOf(flags), fixed, hint));
  respond(call);
}

/**
 * IOMMU_IOAS_UNMAP: takes whole areas; 0 and 2^64 - 1: all that there are. ENOENT, EOVERFLOW,
 * EINVAL; ENOENT: nothing lies there, or the range cuts an area: then what lies before it is gone.
 * EFAULT where the struct cannot be written back: then it is unmapped.
 */
export function ioasUnmap(call: Call): void {
  const { buffer, context } = call;
  const { at } = IoasUnmap;
  const ioas = context.objects.get(buffer.u32(at.ioas_id), Ioas);
  const iova = buffer.big(at.iova);
  const length = buffer.big(at.length);
  if (iova === 0n && length === HIGHEST) {
    buffer.setBig(at.length, ioas.unmap(0n, ADDRESS_END).bytes);
  } else {
    if (iova === HIGHEST || length === HIGHEST) fail('EOVERFLOW');
    if (length === 0n) fail('EINVAL');
    if (iova + length > ADDRESS_END) fail('EOVERFLOW');
    const { bytes, cut } = ioas.unmap(iova, iova + length);
    if (cut || bytes === 0n) fail('ENOENT');
    buffer.setBig(at.length, bytes);
  }
  respond(call);
}

/** What IOAS_MAP's flags let devices do. */
export function permissionOf(flags: number): number {
  return ((flags & READABLE) !== 0 ? READ : 0) | ((flags & WRITEABLE) !== 0 ? WRITE : 0);
}
