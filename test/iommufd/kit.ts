/** A machine with an iommufd, and devices that are bound by their own files. */
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
import { CdevIoctl } from '../../src/abi/vfio.js';
import {
  DeviceAttachIommufdPt,
  DeviceBindIommufd,
  DeviceDetachIommufdPt,
} from '../../src/abi/vfio-structs.js';
import type { VfioFile } from '../../src/file/file.js';
import type { IommuDevice } from '../../src/iommu/device.js';
import { PAGE_SIZE } from '../../src/mm/address-space.js';
import { BUFFER, Kit, type KitOptions } from '../vfio/kit.js';

/** Where `IommufdKit.map` maps, if it is told nothing else. */
export const IOVA_PAGE = 0x100;
const { IOMMU_IOAS_MAP_FIXED_IOVA, IOMMU_IOAS_MAP_READABLE, IOMMU_IOAS_MAP_WRITEABLE } =
  IoasMapFlag;
/** At this IOVA, both ways. */
export const ALL = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE;

export class IommufdKit {
  readonly kit: Kit;
  readonly iommufd: VfioFile;
  readonly fd: number;

  constructor(options: KitOptions = {}) {
    this.kit = new Kit({ kernel: '7.2', ...options });
    this.iommufd = this.kit.machine.openIommufd();
    this.fd = this.kit.process.install(this.iommufd);
  }

  call<N extends string>(
    request: keyof typeof IommufdIoctl,
    layout: StructLayout<N>,
    values: Partial<FieldValues<N>>,
  ): Partial<FieldValues<N>> {
    const bytes = writeStruct(layout, values);
    new DataView(bytes.buffer).setUint32(0, layout.size, true);
    return readStruct(layout, this.kit.call(this.iommufd, IommufdIoctl[request], bytes));
  }

  ioas(): number {
    return Number(this.call('IOMMU_IOAS_ALLOC', IoasAlloc, {}).out_ioas_id);
  }

  map(ioas: number, pages: number, iovaPage = IOVA_PAGE): void {
    this.call('IOMMU_IOAS_MAP', IoasMap, {
      flags: ALL,
      ioas_id: ioas,
      user_va: BUFFER,
      length: pages * PAGE_SIZE,
      iova: iovaPage * PAGE_SIZE,
    });
  }

  /** Opens and binds the device of a group; returns its file and id. */
  bind(group = 1): { file: VfioFile; id: number; iommu: IommuDevice } {
    const { address, iommu } = this.kit.functions[group - 1]!;
    const file = this.kit.machine.openDevice(address);
    const { out_devid } = this.kit.callStruct(
      file,
      CdevIoctl.VFIO_DEVICE_BIND_IOMMUFD,
      DeviceBindIommufd,
      { argsz: DeviceBindIommufd.size, iommufd: this.fd },
    );
    return { file, id: Number(out_devid), iommu };
  }

  attach(file: VfioFile, table: number): number {
    const { VFIO_DEVICE_ATTACH_IOMMUFD_PT: attach } = CdevIoctl;
    const values = { argsz: DeviceAttachIommufdPt.size, pt_id: table };
    return Number(this.kit.callStruct(file, attach, DeviceAttachIommufdPt, values).pt_id);
  }

  detach(file: VfioFile): void {
    const { VFIO_DEVICE_DETACH_IOMMUFD_PT: detach } = CdevIoctl;
    this.kit.callStruct(file, detach, DeviceDetachIommufdPt, { argsz: DeviceDetachIommufdPt.size });
  }

  /** A page table whose page requests come to a queue. */
  queued(device: number, ioas: number): { table: number; queue: VfioFile; fault: number } {
    const { out_fault_id, out_fault_fd } = this.call('IOMMU_FAULT_QUEUE_ALLOC', FaultAlloc, {});
    const { out_hwpt_id } = this.call('IOMMU_HWPT_ALLOC', HwptAlloc, {
      flags: HwptAllocFlag.IOMMU_HWPT_FAULT_ID_VALID,
      dev_id: device,
      pt_id: ioas,
      fault_id: out_fault_id!,
    });
    const queue = this.kit.process.get(Number(out_fault_fd)).what as VfioFile;
    return { table: Number(out_hwpt_id), queue, fault: Number(out_fault_id) };
  }

  /** Records that were read, and poll's word before it. */
  read(queue: VfioFile): Partial<FieldValues<keyof typeof HwptPgfault.at>>[] {
    const bytes = queue.read(this.kit.process, BUFFER, 10 * HwptPgfault.size, 0);
    const got = new Uint8Array(bytes);
    this.kit.mm.copyFrom(BUFFER, got);
    return Array.from({ length: bytes / HwptPgfault.size }, (_, i) =>
      readStruct(HwptPgfault, got.subarray(i * HwptPgfault.size, (i + 1) * HwptPgfault.size)),
    );
  }

  answer(queue: VfioFile, cookie: number, code: number): number {
    this.kit.mm.copyTo(BUFFER, writeStruct(HwptPageResponse, { cookie, code }));
    return queue.write(this.kit.process, BUFFER, HwptPageResponse.size, 0);
  }
}
