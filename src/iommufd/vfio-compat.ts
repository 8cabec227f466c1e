/**
 * The calls of a type1 container on an iommufd (kernel: drivers/iommu/iommufd/vfio_compat.c), for
 * the IOAS that is its *compat IOAS*.
 */
import { ArgumentBuffer } from '../abi/argument-buffer.js';
import { fail, VfioError } from '../abi/errno.js';
import { VfioIoasOp } from '../abi/iommufd.js';
import { VfioIoas } from '../abi/iommufd-structs.js';
import { writeStruct } from '../abi/layout.js';
import {
  ContainerIoctl,
  DmaMapFlag,
  DmaUnmapFlag,
  IommuInfoCapability,
  IommuInfoFlag,
  Type1Ioctl,
  VFIO_API_VERSION,
  VfioExtension,
} from '../abi/vfio.js';
import {
  DmaAvailCap,
  DmaMap,
  DmaUnmap,
  IommuType1Info,
  IovaRangeCap,
  IovaRangeEntry,
} from '../abi/vfio-structs.js';
import { copyIn, copyOut } from '../file/argument.js';
import type { Caller } from '../file/caller.js';
import { READ, WRITE } from '../mm/address-space.js';
import { type Call, respond } from './call.js';
import type { IommufdContext } from './context.js';
import { Ioas } from './ioas.js';
import { mapUserMemory, processMemory } from './ioas-calls.js';
import { ADDRESS_END, PAGE } from './ranges.js';

const { VFIO_DMA_MAP_FLAG_READ: FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE: FLAG_WRITE } = DmaMapFlag;
const { VFIO_DMA_UNMAP_FLAG_ALL: FLAG_ALL } = DmaUnmapFlag;
const map = new ArgumentBuffer(DmaMap.size);
const unmap = new ArgumentBuffer(DmaUnmap.size);
const info = new ArgumentBuffer(IommuType1Info.size);

/** IOMMU_VFIO_IOAS: tells or sets the compat IOAS. EOPNOTSUPP; ENODEV: there is none; ENOENT. */
export function vfioIoas(call: Call): void {
  const { buffer, context } = call;
  const { at } = VfioIoas;
  if (buffer.u16(at.__reserved) !== 0) fail('EOPNOTSUPP');
  switch (buffer.u16(at.op)) {
    case VfioIoasOp.IOMMU_VFIO_IOAS_GET:
      buffer.setU32(at.ioas_id, compatIoas(context).id);
      respond(call);
      break;
    case VfioIoasOp.IOMMU_VFIO_IOAS_SET:
      context.compatIoas = context.objects.get(buffer.u32(at.ioas_id), Ioas);
      break;
    case VfioIoasOp.IOMMU_VFIO_IOAS_CLEAR:
      context.compatIoas = null;
      break;
    default:
      fail('EOPNOTSUPP');
  }
}

/** SET_CONTAINER of a group with an iommufd: there is a compat IOAS from now on. */
export function takeGroup(context: IommufdContext): void {
  if (context.compatIoas !== null) return;
  context.compatIoas = new Ioas(context.machine);
  context.objects.add(context.compatIoas);
}

/** ENODEV: there is none. */
export function compatIoas({ compatIoas: ioas }: IommufdContext): Ioas {
  return ioas ?? fail('ENODEV');
}

/** A call that is not of the table. ENOTTY: it is none of type1's either. */
export function compatIoctl(
  caller: Caller,
  context: IommufdContext,
  request: number,
  argument: number,
): number {
  switch (request) {
    case ContainerIoctl.VFIO_GET_API_VERSION:
      return VFIO_API_VERSION;
    case ContainerIoctl.VFIO_CHECK_EXTENSION:
      return checkExtension(context, argument);
    case ContainerIoctl.VFIO_SET_IOMMU:
      setIommu(context, argument);
      return 0;
    case Type1Ioctl.VFIO_IOMMU_GET_INFO:
      getInfo(caller, context, argument);
      return 0;
    case Type1Ioctl.VFIO_IOMMU_MAP_DMA:
      mapDma(caller, context, argument);
      return 0;
    case Type1Ioctl.VFIO_IOMMU_UNMAP_DMA:
      unmapDma(caller, context, argument);
      return 0;
    default:
      return fail('ENOTTY');
  }
}

function checkExtension(context: IommufdContext, extension: number): number {
  switch (extension) {
    case VfioExtension.VFIO_TYPE1_IOMMU:
    case VfioExtension.VFIO_TYPE1v2_IOMMU:
    case VfioExtension.VFIO_UNMAP_ALL:
      return 1;
    case VfioExtension.VFIO_DMA_CC_IOMMU:
      return compatIoas(context).tables.every(({ isCoherent }) => isCoherent) ? 1 : 0;
    default:
      return 0;
  }
}

/** EINVAL: no type of IOMMU; ENODEV. Type 1 may cut maps: page tables have no large entries. */
function setIommu(context: IommufdContext, type: number): void {
  const { VFIO_TYPE1_IOMMU: v1, VFIO_TYPE1v2_IOMMU: v2 } = VfioExtension;
  if (type !== v1 && type !== v2) fail('EINVAL');
  const ioas = compatIoas(context);
  if (type === v1) ioas.setHugePages(false);
}

/** EFAULT; EINVAL: argsz, flags; ENODEV; and what IOMMU_IOAS_MAP answers. */
function mapDma(caller: Caller, context: IommufdContext, argument: number): void {
  copyIn(caller, argument, map, DmaMap.size);
  const flags = map.u32(DmaMap.at.flags);
  if ((flags & ~(FLAG_READ | FLAG_WRITE)) !== 0) fail('EINVAL');
  const permission =
    ((flags & FLAG_READ) !== 0 ? READ : 0) | ((flags & FLAG_WRITE) !== 0 ? WRITE : 0);
  const ioas = compatIoas(context);
  const address = map.big(DmaMap.at.vaddr);
  const source = processMemory(caller, context, address, permission);
  const iova = map.big(DmaMap.at.iova);
  mapUserMemory(ioas, address, map.big(DmaMap.at.size), permission, iova, source);
}

/**
 * EFAULT; EINVAL: argsz, flags, ALL with a range; ENODEV; EINVAL, EOVERFLOW: no range; ENOENT: it
 * cuts a map that may not be cut. Tells how many bytes went, also where it fails.
 */
function unmapDma(caller: Caller, context: IommufdContext, argument: number): void {
  copyIn(caller, argument, unmap, DmaUnmap.size);
  const { at } = DmaUnmap;
  const flags = unmap.u32(at.flags);
  if ((flags & ~FLAG_ALL) !== 0) fail('EINVAL');
  const ioas = compatIoas(context);
  const iova = unmap.big(at.iova);
  const size = unmap.big(at.size);
  let bytes = 0n;
  let errno: VfioError | null = null;
  if ((flags & FLAG_ALL) !== 0) {
    if (iova !== 0n || size !== 0n) fail('EINVAL');
    bytes = ioas.unmap(0n, ADDRESS_END).bytes;
  } else {
    if (!ioas.hugePages) cutAt(ioas, iova, size);
    try {
      const gone = unmapRange(ioas, iova, size);
      bytes = gone.bytes;
      if (gone.cut) fail('ENOENT');
    } catch (error) {
      if (!(error instanceof VfioError)) throw error;
      errno = error;
    }
  }
  unmap.setBig(at.size, bytes);
  copyOut(caller, argument, unmap, DmaUnmap.size);
  if (errno !== null) throw errno;
}

/** Cuts maps at the edges of a range of 64 bits, as they wrap. */
function cutAt(ioas: Ioas, iova: bigint, size: bigint): void {
  ioas.cut((iova + size) % ADDRESS_END);
  if (iova !== 0n) ioas.cut(iova);
}

function unmapRange(ioas: Ioas, iova: bigint, size: bigint): { bytes: bigint; cut: boolean } {
  if (size === 0n) fail('EINVAL');
  if (iova + size > ADDRESS_END) fail('EOVERFLOW');
  return ioas.unmap(iova, iova + size);
}

/**
 * VFIO_IOMMU_GET_INFO with its chain: how many maps are left, then the ranges. What there is room
 * for is written, each capability by itself. EFAULT; EINVAL: argsz; ENODEV.
 */
function getInfo(caller: Caller, context: IommufdContext, argument: number): void {
  info.bytes.fill(0);
  const { at, end, size } = IommuType1Info;
  copyIn(caller, argument, info, end.iova_pgsizes);
  const room = info.u32(at.argsz);
  const ioas = compatIoas(context);
  const put = (where: number, bytes: Uint8Array): void => {
    if (!caller.mm.copyTo(argument + where, bytes)) fail('EFAULT');
  };
  const available = mapsAvailable();
  if (room >= size + available.length) put(size, available);
  const behind = size + Math.ceil(available.length / 8) * 8;
  const place = behind + putRanges(ioas, room - behind, (at, bytes) => put(behind + at, bytes));
  if (room >= behind) put(size + DmaAvailCap.at.next, Uint8Array.of(behind, 0, 0, 0));
  info.setU32(at.argsz, place);
  const { VFIO_IOMMU_INFO_PGSIZES: sizes, VFIO_IOMMU_INFO_CAPS: caps } = IommuInfoFlag;
  info.setU32(at.flags, sizes | caps);
  info.setBig(at.iova_pgsizes, pageSizes(ioas));
  info.setU32(at.cap_offset, room >= place ? size : 0);
  copyOut(caller, argument, info, Math.min(room, size));
}

/** Without a page table all from a page on; entries of less than a page do a page, too. */
function pageSizes({ tables }: Ioas): bigint {
  if (tables.length === 0) return ADDRESS_END - PAGE;
  const common = tables.reduce((sizes, table) => sizes & table.pageSizes, ADDRESS_END - 1n);
  const ofPages = common & -PAGE;
  return common === ofPages ? ofPages : ofPages | PAGE;
}

/** Puts ranges that there is room for, and the head if there is room for all. Returns the bytes. */
function putRanges(
  { reserved }: Ioas,
  room: number,
  put: (at: number, bytes: Uint8Array) => void,
): number {
  const ranges = reserved.gaps({ first: 0n, end: ADDRESS_END });
  let bytes: number = IovaRangeCap.size;
  for (const { first, end } of ranges) {
    const entry = writeStruct(IovaRangeEntry, { start: first, end: end - 1n });
    if (room >= bytes + entry.length) put(bytes, entry);
    bytes += entry.length;
  }
  const id = IommuInfoCapability.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE;
  if (room >= bytes) put(0, writeStruct(IovaRangeCap, { id, version: 1, nr_iovas: ranges.length }));
  return bytes;
}

function mapsAvailable(): Uint8Array {
  const id = IommuInfoCapability.VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL;
  return writeStruct(DmaAvailCap, { id, version: 1, avail: 0xffffffff });
}
