/** A small iommufd client: a device by its own file, an IOAS, a page table with a fault queue. */

import { readdirSync } from 'node:fs';
import { HwptAllocFlag, IoasMapFlag, IommufdIoctl } from '../../src/abi/iommufd.js';
import {
  FaultAlloc,
  HwptAlloc,
  HwptPageResponse,
  HwptPgfault,
  IoasAlloc,
  IoasMap,
} from '../../src/abi/iommufd-structs.js';
import {
  type FieldValues,
  readStruct,
  type StructLayout,
  writeStruct,
} from '../../src/abi/layout.js';
import { O_RDWR } from '../../src/abi/linux.js';
import { CdevIoctl, DeviceIoctl, REGION_OFFSET } from '../../src/abi/vfio.js';
import { DeviceAttachIommufdPt, DeviceBindIommufd } from '../../src/abi/vfio-structs.js';
import type { DmaBuffer } from '../../src/mm/frame-memory.js';
import * as libc from '../../src/mm/process/libc.js';

const CONFIG = 7;
const PCI_COMMAND = 4;
const MEMORY_AND_BUS_MASTER = 6;
const POLLIN = 1;
const QUEUE_RECORDS = 64;
const PAGE = 4096;
const SUCCESS = 0;
const INVALID = 1;

const scratch = libc.allocateNative(4096);
const view = new DataView(scratch.bytes.buffer);

interface PageRequest {
  /** IOVA, in bytes. */
  readonly address: number;
  readonly cookie: number;
}

/** Memory of this process that the device may reach at `iova`; bytes. */
interface Region {
  readonly address: number;
  readonly iova: number;
  readonly length: number;
}

export class IommufdClient {
  private readonly iommufd = libc.must('open /dev/iommu', libc.open('/dev/iommu', O_RDWR, 0));
  private readonly device: number;
  private readonly ioas: number;
  private queue = -1;
  private readonly regions: Region[] = [];
  /** Page requests that were answered. */
  answered = 0;

  /**
   * `answers`: nothing is mapped until the device misses it and `serve` is told; else it finds what
   * is mapped, if need be by an I/O page fault that nobody here sees.
   */
  constructor(
    address: string,
    private readonly answers: boolean,
  ) {
    const [name] = readdirSync(`/sys/bus/pci/devices/${address}/vfio-dev`);
    const path = `/dev/vfio/devices/${name}`;
    this.device = libc.must(`open ${path}`, libc.open(path, O_RDWR, 0));
    const bound = this.call(this.device, 'VFIO_DEVICE_BIND_IOMMUFD', DeviceBindIommufd, {
      argsz: DeviceBindIommufd.end.out_devid,
      iommufd: this.iommufd,
    });
    this.ioas = Number(this.call(this.iommufd, 'IOMMU_IOAS_ALLOC', IoasAlloc, {}).out_ioas_id);
    let table = this.ioas;
    if (answers) {
      const fault = this.call(this.iommufd, 'IOMMU_FAULT_QUEUE_ALLOC', FaultAlloc, {});
      this.queue = Number(fault.out_fault_fd);
      const hwpt = this.call(this.iommufd, 'IOMMU_HWPT_ALLOC', HwptAlloc, {
        flags: HwptAllocFlag.IOMMU_HWPT_FAULT_ID_VALID,
        dev_id: bound.out_devid!,
        pt_id: this.ioas,
        fault_id: fault.out_fault_id!,
      });
      table = Number(hwpt.out_hwpt_id);
    }
    this.call(this.device, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', DeviceAttachIommufdPt, {
      argsz: DeviceAttachIommufdPt.end.pt_id,
      pt_id: table,
    });
    this.writeRegion(CONFIG, PCI_COMMAND, 2, MEMORY_AND_BUS_MASTER);
  }

  /** Lets the device reach memory of this process at `iova`, at once or when it asks; bytes. */
  map(address: number, iova: number, length: number): void {
    if (this.answers) this.regions.push({ address, iova, length });
    else this.mapNow(address, iova, length);
  }

  /** Maps what the device has asked for by now, page by page, and answers. */
  serve(): void {
    if (!this.answers) return;
    for (const { address, cookie } of this.requests()) {
      const region = this.regions.find(
        ({ iova, length }) => address >= iova && address < iova + length,
      );
      if (region !== undefined) this.mapNow(region.address + address - region.iova, address, PAGE);
      this.answer(cookie, region === undefined ? INVALID : SUCCESS);
      this.answered++;
    }
  }

  private mapNow(address: number, iova: number, length: number): void {
    const { IOMMU_IOAS_MAP_FIXED_IOVA, IOMMU_IOAS_MAP_READABLE, IOMMU_IOAS_MAP_WRITEABLE } =
      IoasMapFlag;
    this.call(this.iommufd, 'IOMMU_IOAS_MAP', IoasMap, {
      flags: IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE,
      ioas_id: this.ioas,
      user_va: BigInt(address),
      length: BigInt(length),
      iova: BigInt(iova),
    });
  }

  /** Page requests that nobody has read, after at most a millisecond. */
  private requests(): PageRequest[] {
    view.setInt32(0, this.queue, true);
    view.setInt32(4, POLLIN, true);
    if (libc.must('poll', libc.poll(scratch.address, 1, 1)) === 0) return [];
    const room = QUEUE_RECORDS * HwptPgfault.size;
    const bytes = libc.must('read', libc.read(this.queue, scratch.address, room));
    return Array.from({ length: bytes / HwptPgfault.size }, (_, i) => ({
      address: Number(view.getBigUint64(i * HwptPgfault.size + HwptPgfault.at.addr, true)),
      cookie: view.getUint32(i * HwptPgfault.size + HwptPgfault.at.cookie, true),
    }));
  }

  /** Answers a page request: 0 SUCCESS, 1 INVALID. */
  private answer(cookie: number, code: number): void {
    scratch.bytes.set(writeStruct(HwptPageResponse, { cookie, code }));
    libc.must('write', libc.write(this.queue, scratch.address, HwptPageResponse.size));
  }

  readRegion(region: number, offset: number, size: number): number {
    const at = region * REGION_OFFSET + offset;
    libc.must('pread', libc.pread(this.device, scratch.address, size, at));
    return Number(view.getBigUint64(0, true) & ((1n << BigInt(8 * size)) - 1n));
  }

  writeRegion(region: number, offset: number, size: number, value: number): void {
    view.setBigUint64(0, BigInt(value), true);
    const at = region * REGION_OFFSET + offset;
    libc.must('pwrite', libc.pwrite(this.device, scratch.address, size, at));
  }

  /** Maps the first `size` bytes of a region, to be read and written without system calls. */
  mapRegion(region: number, size: number): DmaBuffer {
    return libc.mapShared(this.device, region * REGION_OFFSET, size);
  }

  /** Function-level reset. */
  reset(): void {
    libc.must('DEVICE_RESET', libc.ioctl(this.device, DeviceIoctl.VFIO_DEVICE_RESET, 0));
  }

  close(): void {
    for (const fd of [this.device, this.queue, this.iommufd]) if (fd >= 0) libc.close(fd);
  }

  /** Makes a call and returns its struct afterwards. */
  private call<N extends string>(
    fd: number,
    name: keyof typeof IommufdIoctl | keyof typeof CdevIoctl,
    layout: StructLayout<N>,
    values: Partial<FieldValues<N>>,
  ): Partial<FieldValues<N>> {
    const bytes = writeStruct(layout, values);
    // Structs of /dev/iommu begin with their size; those of devices were given theirs.
    if (fd === this.iommufd) new DataView(bytes.buffer).setUint32(0, layout.size, true);
    scratch.bytes.set(bytes);
    const number = { ...IommufdIoctl, ...CdevIoctl }[name];
    libc.must(name, libc.ioctl(fd, number, scratch.address));
    return readStruct(layout, scratch.bytes.subarray(0, layout.size));
  }
}
