/** VFIO_IOMMU_GET_INFO with its capability chain (kernel: vfio_iommu_type1_get_info). */
import { ArgumentBuffer } from '../../abi/argument-buffer.js';
import { writeStruct } from '../../abi/layout.js';
import { IommuInfoCapability, IommuInfoFlag, IopfCapabilityFlag } from '../../abi/vfio.js';
import {
  DmaAvailCap,
  IommuType1Info,
  IopfCap,
  IovaRangeCap,
  IovaRangeEntry,
  MigrationCap,
} from '../../abi/vfio-structs.js';
import { copyIn, copyOut } from '../../file/argument.js';
import type { Caller } from '../../file/caller.js';
import type { Iopf } from '../../ioas/iopf/iopf.js';
import type { PageRange } from '../../iommu/group.js';

import { PAGE_SIZE } from '../../mm/address-space.js';
import { infoBytes } from '../device-info.js';
import { buildChain, copyChainOut } from '../info-chain.js';
import type { Type1 } from './type1.js';
import { DIRTY_BITMAP_SIZE_MAX } from './user-bitmap.js';

const info = new ArgumentBuffer(IommuType1Info.size);

/** EFAULT; EINVAL for a small argsz. */
export function getIommuInfo(caller: Caller, argument: number, type1: Type1): void {
  const { kernel } = type1.machine;
  info.bytes.fill(0);
  copyIn(caller, argument, info, IommuType1Info.end.iova_pgsizes);
  const { at } = IommuType1Info;
  // Of the first argsz, as the chain may change it.
  const bytes = infoBytes(info.u32(at.argsz), IommuType1Info, 'iova_pgsizes', kernel);
  info.setU32(at.flags, IommuInfoFlag.VFIO_IOMMU_INFO_PGSIZES);
  info.setU64(at.iova_pgsizes, type1.space.pageSizes);
  const chain = infoChain(type1);
  copyChainOut(
    caller,
    argument,
    info,
    at,
    chain,
    IommuType1Info.size,
    IommuInfoFlag.VFIO_IOMMU_INFO_CAPS,
  );
  copyOut(caller, argument, info, bytes);
}

/**
 * A chain that was built, and what it was built of. The ranges are others whenever a group comes or
 * goes.
 */
interface BuiltChain {
  readonly ranges: readonly PageRange[];
  readonly available: number;
  readonly iopfEnabled: boolean;
  readonly chain: Uint8Array;
}

const built = new WeakMap<Type1, BuiltChain>();

/**
 * The chain; built again only where something in it has changed, as a program asks twice for the
 * same.
 */
function infoChain(type1: Type1): Uint8Array {
  const { mappingsAvailable: available, space } = type1;
  const { ranges } = space;
  const iopfEnabled = space.iopf.enabled;
  const known = built.get(type1);
  if (
    known?.ranges === ranges &&
    known.available === available &&
    known.iopfEnabled === iopfEnabled
  )
    return known.chain;
  const { capabilityAlignment } = type1.machine.kernel;
  const chain = buildChain(capabilities(type1), IommuType1Info.size, capabilityAlignment);
  built.set(type1, { ranges, available, iopfEnabled, chain });
  return chain;
}

function capabilities(type1: Type1): Uint8Array[] {
  const list = [
    writeStruct(MigrationCap, {
      id: IommuInfoCapability.VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
      version: 1,
      pgsize_bitmap: PAGE_SIZE,
      max_dirty_bitmap_size: DIRTY_BITMAP_SIZE_MAX,
    }),
    // Written without the tail padding that sizeof would add.
    writeStruct(DmaAvailCap, {
      id: IommuInfoCapability.VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
      version: 1,
      avail: type1.mappingsAvailable,
    }),
    iovaRanges(type1),
  ];
  if (type1.machine.iopf !== 'off') list.push(iopfCapability(type1.space.iopf));
  return list;
}

function iovaRanges(type1: Type1): Uint8Array {
  const { ranges } = type1.space;
  const capability = new Uint8Array(IovaRangeCap.size + ranges.length * IovaRangeEntry.size);
  capability.set(
    writeStruct(IovaRangeCap, {
      id: IommuInfoCapability.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
      version: 1,
      nr_iovas: ranges.length,
    }),
  );
  ranges.forEach((range, i) => {
    const start = BigInt(range.first) * BigInt(PAGE_SIZE);
    const end = BigInt(range.end) * BigInt(PAGE_SIZE) - 1n;
    capability.set(
      writeStruct(IovaRangeEntry, { start, end }),
      IovaRangeCap.size + i * IovaRangeEntry.size,
    );
  });
  return capability;
}

/** IOPF's own, always the last (R5.9). */
function iopfCapability(iopf: Iopf): Uint8Array {
  return writeStruct(IopfCap, {
    id: IommuInfoCapability.VFIO_IOMMU_TYPE1_INFO_CAP_IOPF,
    version: 1,
    flags:
      (iopf.enabled ? IopfCapabilityFlag.ENABLED : 0) |
      (iopf.everyDeviceCan ? IopfCapabilityFlag.ALL_DEVICES : 0),
    premap_pages: iopf.premapPages,
  });
}
