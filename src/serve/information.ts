/** What a device has: the commands that ask and change nothing. */
import { fail } from '../abi/errno.js';
import { writeStruct } from '../abi/layout.js';
import { PciInterruptIndex, PciRegionIndex } from '../abi/pci.js';
import {
  DeviceFlag,
  IrqInfoFlag,
  REGION_OFFSET,
  RegionCapability,
  RegionFlag,
} from '../abi/vfio.js';
import {
  DeviceInfo,
  IrqInfo,
  RegionInfo,
  SparseMmapArea,
  SparseMmapCap,
} from '../abi/vfio-structs.js';
import type { PciFunction, PciRegion, RegionArea } from '../vfio/pci-function.js';
import { BODY_BYTES } from '../vfio-user/protocol.js';
import { RegionIoFds } from '../vfio-user/structs.js';
import { answer, bufferOf, type Reply, type Request, readBody } from './request.js';

/** The reply ends behind num_irqs: vfio-user has no capabilities of devices. */
const DEVICE_INFO_BYTES = DeviceInfo.end.num_irqs;
const deviceInfo = bufferOf({ ...DeviceInfo, size: DEVICE_INFO_BYTES });
const regionInfo = bufferOf(RegionInfo);
const irqInfo = bufferOf(IrqInfo);
const ioFds = bufferOf(RegionIoFds);

/** DEVICE_GET_INFO. EINVAL: argsz. A device can always be reset, by its server. */
export function getInfo({ body }: Request, reply: Reply): void {
  readBody(body, 0, deviceInfo);
  if (deviceInfo.u32(DeviceInfo.at.argsz) < DEVICE_INFO_BYTES) fail('EINVAL');
  const bytes = writeStruct(DeviceInfo, {
    argsz: DEVICE_INFO_BYTES,
    flags: DeviceFlag.VFIO_DEVICE_FLAGS_RESET | DeviceFlag.VFIO_DEVICE_FLAGS_PCI,
    num_regions: PciRegionIndex.COUNT,
    num_irqs: PciInterruptIndex.COUNT,
  });
  answer(reply, bytes.subarray(0, DEVICE_INFO_BYTES));
}

/**
 * DEVICE_GET_REGION_INFO. EINVAL: argsz, index. A region that can be mapped has its areas and a
 * descriptor, `memoryFd`, where argsz has room for the areas; the reply is cut to argsz.
 */
export function getRegionInfo(
  { body }: Request,
  reply: Reply,
  { regions }: PciFunction,
  memoryFd: number,
): void {
  readBody(body, 0, regionInfo);
  const argsz = regionInfo.u32(RegionInfo.at.argsz);
  const index = regionInfo.u32(RegionInfo.at.index);
  if (argsz < RegionInfo.size || index >= PciRegionIndex.COUNT) fail('EINVAL');
  const region = regions[index]!;
  const areas = mappableAreas(region);
  const needed =
    RegionInfo.size +
    (areas.length === 0 ? 0 : SparseMmapCap.size + areas.length * SparseMmapArea.size);
  const fits = areas.length > 0 && argsz >= needed;
  const head = writeStruct(RegionInfo, {
    argsz: needed,
    flags: flagsOf(region, areas, fits),
    index,
    cap_offset: fits ? RegionInfo.size : 0,
    size: region.size,
    offset: areas.length > 0 ? index * REGION_OFFSET : 0,
  });
  reply.bytes.fill(0, 0, needed);
  reply.bytes.set(head);
  if (fits) writeAreas(reply.bytes.subarray(RegionInfo.size), areas);
  reply.length = Math.min(argsz, needed);
  if (fits) reply.descriptors.push(memoryFd);
}

/** The parts of a region that a client may map: none, its areas, or all of it. */
export function mappableAreas({ mappable, size, sparse }: PciRegion): readonly RegionArea[] {
  if (!mappable) return [];
  return sparse ?? [{ offset: 0, size }];
}

function flagsOf(region: PciRegion, areas: readonly RegionArea[], fits: boolean): number {
  return (
    (region.readable ? RegionFlag.VFIO_REGION_INFO_FLAG_READ : 0) |
    (region.writable ? RegionFlag.VFIO_REGION_INFO_FLAG_WRITE : 0) |
    (areas.length > 0 ? RegionFlag.VFIO_REGION_INFO_FLAG_MMAP : 0) |
    (fits ? RegionFlag.VFIO_REGION_INFO_FLAG_CAPS : 0)
  );
}

function writeAreas(into: Uint8Array, areas: readonly RegionArea[]): void {
  into.set(
    writeStruct(SparseMmapCap, {
      id: RegionCapability.VFIO_REGION_INFO_CAP_SPARSE_MMAP,
      version: 1,
      nr_areas: areas.length,
    }),
  );
  areas.forEach((area, index) => {
    into.set(
      writeStruct(SparseMmapArea, { ...area }),
      SparseMmapCap.size + index * SparseMmapArea.size,
    );
  });
}

/**
 * DEVICE_GET_REGION_IO_FDS: no device has any. EINVAL: flags or count, index, a region that is not
 * there, argsz.
 */
export function getRegionIoFds({ body }: Request, reply: Reply, { regions }: PciFunction): void {
  readBody(body, 0, ioFds);
  const { at } = RegionIoFds;
  const index = ioFds.u32(at.index);
  if (ioFds.u32(at.flags) !== 0 || ioFds.u32(at.count) !== 0) fail('EINVAL');
  if (index >= PciRegionIndex.COUNT || regions[index]!.size === 0) fail('EINVAL');
  const argsz = ioFds.u32(at.argsz);
  if (argsz < RegionIoFds.size || argsz > BODY_BYTES) fail('EINVAL');
  answer(reply, writeStruct(RegionIoFds, { argsz: RegionIoFds.size, index }));
}

/** DEVICE_GET_IRQ_INFO. EINVAL: argsz, index. */
export function getIrqInfo({ body }: Request, reply: Reply, served: PciFunction): void {
  readBody(body, 0, irqInfo);
  const index = irqInfo.u32(IrqInfo.at.index);
  if (irqInfo.u32(IrqInfo.at.argsz) < IrqInfo.size || index >= PciInterruptIndex.COUNT)
    fail('EINVAL');
  answer(
    reply,
    writeStruct(IrqInfo, {
      argsz: IrqInfo.size,
      flags: IrqInfoFlag.VFIO_IRQ_INFO_EVENTFD,
      index,
      count: served.interruptCounts[index]!,
    }),
  );
}
