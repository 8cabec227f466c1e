/**
 * A small VFIO client: the system calls that a user-space driver makes, with raw libc underneath.
 */

import { readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { O_RDWR } from '../../src/abi/linux.js';
import {
  ContainerIoctl,
  DeviceIoctl,
  DmaMapFlag,
  GroupFlag,
  GroupIoctl,
  REGION_OFFSET,
  Type1Ioctl,
  VFIO_API_VERSION,
  VfioExtension,
} from '../../src/abi/vfio.js';
import { DmaMap, DmaUnmap, GroupStatus } from '../../src/abi/vfio-structs.js';
import type { DmaBuffer } from '../../src/mm/frame-memory.js';
import {
  allocateNative,
  close,
  errno,
  ioctl,
  mapShared,
  must,
  open,
  pread,
  pwrite,
} from '../../src/mm/process/libc.js';

const CONFIG = 7;
const PCI_COMMAND = 4;
const BUS_MASTER = 4;
const MEMORY = 2;

const scratch = allocateNative(4096);
const view = new DataView(scratch.bytes.buffer);

/** A device that this process owns through VFIO. */
export class VfioClient {
  readonly container: number;
  readonly group: number;
  readonly device: number;

  constructor(address: string, type: number = VfioExtension.VFIO_TYPE1v2_IOMMU) {
    this.container = must('open /dev/vfio/vfio', open('/dev/vfio/vfio', O_RDWR, 0));
    if (ioctl(this.container, ContainerIoctl.VFIO_GET_API_VERSION, 0) !== VFIO_API_VERSION)
      throw new Error('unknown VFIO version');
    const number = basename(readlinkSync(`/sys/bus/pci/devices/${address}/iommu_group`));
    this.group = must(`open /dev/vfio/${number}`, open(`/dev/vfio/${number}`, O_RDWR, 0));
    view.setUint32(GroupStatus.at.argsz, GroupStatus.size, true);
    must('GROUP_GET_STATUS', ioctl(this.group, GroupIoctl.VFIO_GROUP_GET_STATUS, scratch.address));
    if ((view.getUint32(GroupStatus.at.flags, true) & GroupFlag.VFIO_GROUP_FLAGS_VIABLE) === 0)
      throw new Error(`group ${number} is not viable: bind all its devices to vfio-pci`);
    view.setInt32(0, this.container, true);
    must(
      'GROUP_SET_CONTAINER',
      ioctl(this.group, GroupIoctl.VFIO_GROUP_SET_CONTAINER, scratch.address),
    );
    must('SET_IOMMU', ioctl(this.container, ContainerIoctl.VFIO_SET_IOMMU, type));
    scratch.bytes.set(Buffer.from(`${address}\0`));
    this.device = must(
      'GROUP_GET_DEVICE_FD',
      ioctl(this.group, GroupIoctl.VFIO_GROUP_GET_DEVICE_FD, scratch.address),
    );
    this.writeRegion(CONFIG, PCI_COMMAND, 2, MEMORY | BUS_MASTER);
  }

  /**
   * Lets the device reach [address, address + size) of this process at `iova`; bytes, multiples of
   * the page size.
   */
  map(address: number, iova: number, size: number, flags = READ_WRITE): void {
    must('MAP_DMA', this.tryMap(address, iova, size, flags));
  }

  /** As `map`; returns -1 where the call fails, with `errno()` set. */
  tryMap(address: number, iova: number, size: number, flags = READ_WRITE): number {
    view.setUint32(DmaMap.at.argsz, DmaMap.size, true);
    view.setUint32(DmaMap.at.flags, flags, true);
    view.setBigUint64(DmaMap.at.vaddr, BigInt(address), true);
    view.setBigUint64(DmaMap.at.iova, BigInt(iova), true);
    view.setBigUint64(DmaMap.at.size, BigInt(size), true);
    return ioctl(this.container, Type1Ioctl.VFIO_IOMMU_MAP_DMA, scratch.address);
  }

  unmap(iova: number, size: number): void {
    view.setUint32(DmaUnmap.at.argsz, DmaUnmap.size, true);
    view.setUint32(DmaUnmap.at.flags, 0, true);
    view.setBigUint64(DmaUnmap.at.iova, BigInt(iova), true);
    view.setBigUint64(DmaUnmap.at.size, BigInt(size), true);
    must('UNMAP_DMA', ioctl(this.container, Type1Ioctl.VFIO_IOMMU_UNMAP_DMA, scratch.address));
  }

  /** Reads a register of 1, 2, 4 or 8 bytes. */
  readRegion(region: number, offset: number, size: number): number {
    const got = pread(this.device, scratch.address, size, region * REGION_OFFSET + offset);
    if (got !== size)
      throw new Error(`pread of region ${region} at ${offset}: ${got}, errno ${errno()}`);
    return Number(view.getBigUint64(0, true) & ((1n << BigInt(8 * size)) - 1n));
  }

  writeRegion(region: number, offset: number, size: number, value: number): void {
    view.setBigUint64(0, BigInt(value), true);
    const put = pwrite(this.device, scratch.address, size, region * REGION_OFFSET + offset);
    if (put !== size)
      throw new Error(`pwrite of region ${region} at ${offset}: ${put}, errno ${errno()}`);
  }

  /** Maps the first `size` bytes of a region, to be read and written without system calls. */
  mapRegion(region: number, size: number): DmaBuffer {
    return mapShared(this.device, region * REGION_OFFSET, size);
  }

  /** Function-level reset. */
  reset(): void {
    must('DEVICE_RESET', ioctl(this.device, DeviceIoctl.VFIO_DEVICE_RESET, 0));
    this.writeRegion(CONFIG, PCI_COMMAND, 2, MEMORY | BUS_MASTER);
  }

  close(): void {
    for (const fd of [this.device, this.group, this.container]) close(fd);
  }
}

export const READ_WRITE = DmaMapFlag.VFIO_DMA_MAP_FLAG_READ | DmaMapFlag.VFIO_DMA_MAP_FLAG_WRITE;
