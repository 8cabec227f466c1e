/** The file behind /dev/iommu and its table of calls (kernel: drivers/iommu/iommufd/main.c). */
import { fail } from '../abi/errno.js';
import { IommufdIoctl } from '../abi/iommufd.js';
import {
  Destroy,
  FaultAlloc,
  HwInfo,
  HwptAlloc,
  HwptGetDirtyBitmap,
  HwptInvalidate,
  HwptSetDirtyTracking,
  HwQueueAlloc,
  IoasAlloc,
  IoasAllowIovas,
  IoasChangeProcess,
  IoasCopy,
  IoasIovaRanges,
  IoasMap,
  IoasMapFile,
  IoasUnmap,
  Option,
  VdeviceAlloc,
  VeventqAlloc,
  VfioIoas,
  ViommuAlloc,
} from '../abi/iommufd-structs.js';
import type { Caller } from '../file/caller.js';
import { noTransfer, type VfioFile } from '../file/file.js';
import { hwQueueAlloc, vdeviceAlloc, veventqAlloc, viommuAlloc } from './absent-calls.js';
import {
  type Call,
  type Operation,
  operation,
  runCall,
  type TestInterface,
  tableNumber,
} from './call.js';
import { IommufdContext } from './context.js';
import { getDirtyBitmap, setDirtyTracking } from './dirty-bitmap.js';
import { faultQueueAlloc } from './fault-queue-file.js';
import { getHwInfo, hwptAlloc, hwptInvalidate } from './hwpt-calls.js';
import {
  ioasAlloc,
  ioasAllowIovas,
  ioasCopy,
  ioasIovaRanges,
  ioasMap,
  ioasUnmap,
} from './ioas-calls.js';
import type { IommufdMachine } from './machine.js';
import { changeProcess, ioasMapFile } from './map-file.js';
import { option } from './option.js';
import { compatIoctl, vfioIoas } from './vfio-compat.js';

const operations: ReadonlyMap<number, Operation> = new Map([
  [IommufdIoctl.IOMMU_DESTROY, operation(Destroy, destroy)],
  [IommufdIoctl.IOMMU_IOAS_ALLOC, operation(IoasAlloc, ioasAlloc)],
  [IommufdIoctl.IOMMU_IOAS_ALLOW_IOVAS, operation(IoasAllowIovas, ioasAllowIovas)],
  [IommufdIoctl.IOMMU_IOAS_COPY, operation(IoasCopy, ioasCopy)],
  [IommufdIoctl.IOMMU_IOAS_IOVA_RANGES, operation(IoasIovaRanges, ioasIovaRanges)],
  [IommufdIoctl.IOMMU_IOAS_MAP, operation(IoasMap, ioasMap)],
  [IommufdIoctl.IOMMU_IOAS_MAP_FILE, operation(IoasMapFile, ioasMapFile)],
  [IommufdIoctl.IOMMU_IOAS_UNMAP, operation(IoasUnmap, ioasUnmap)],
  [IommufdIoctl.IOMMU_OPTION, operation(Option, option)],
  [IommufdIoctl.IOMMU_HWPT_SET_DIRTY_TRACKING, operation(HwptSetDirtyTracking, setDirtyTracking)],
  [IommufdIoctl.IOMMU_HWPT_GET_DIRTY_BITMAP, operation(HwptGetDirtyBitmap, getDirtyBitmap)],
  [IommufdIoctl.IOMMU_HWPT_INVALIDATE, operation(HwptInvalidate, hwptInvalidate)],
  [
    IommufdIoctl.IOMMU_VIOMMU_ALLOC,
    operation(ViommuAlloc, viommuAlloc, ViommuAlloc.end.out_viommu_id),
  ],
  [IommufdIoctl.IOMMU_VDEVICE_ALLOC, operation(VdeviceAlloc, vdeviceAlloc)],
  [IommufdIoctl.IOMMU_IOAS_CHANGE_PROCESS, operation(IoasChangeProcess, changeProcess)],
  [IommufdIoctl.IOMMU_VEVENTQ_ALLOC, operation(VeventqAlloc, veventqAlloc)],
  [IommufdIoctl.IOMMU_HW_QUEUE_ALLOC, operation(HwQueueAlloc, hwQueueAlloc)],
  [IommufdIoctl.IOMMU_VFIO_IOAS, operation(VfioIoas, vfioIoas)],
  [IommufdIoctl.IOMMU_HWPT_ALLOC, operation(HwptAlloc, hwptAlloc, HwptAlloc.end.__reserved)],
  [IommufdIoctl.IOMMU_FAULT_QUEUE_ALLOC, operation(FaultAlloc, faultQueueAlloc)],
  [IommufdIoctl.IOMMU_GET_HW_INFO, operation(HwInfo, getHwInfo, HwInfo.end.__reserved2)],
]);

/** open(2) of /dev/iommu; null: without the interface of iommufd's own tests. */
export function openIommufd(machine: IommufdMachine, tests: TestInterface | null): IommufdFile {
  return new IommufdFile(new IommufdContext(machine), '/dev/iommu', tests);
}

/** open(2) of /dev/vfio/vfio where iommufd serves it: pins count per process, as type1's do. */
export function openCompatContainer(machine: IommufdMachine): IommufdFile {
  return new IommufdFile(new IommufdContext(machine, 'process'), '/dev/vfio/vfio');
}

export class IommufdFile implements VfioFile {
  readonly kind = 'iommufd';
  readonly read = noTransfer;
  readonly write = noTransfer;

  constructor(
    readonly context: IommufdContext,
    readonly name: string,
    private readonly tests: TestInterface | null = null,
  ) {}

  ioctl(caller: Caller, request: number, argument: number): number {
    const { context, tests } = this;
    const { kernel } = context.machine;
    const nr = tableNumber(request, tests?.last ?? kernel.iommufdLast);
    if (nr < 0) return compatIoctl(caller, context, request, argument);
    // Between this kernel's last number and the tests' own there is nothing.
    const isThere = nr <= kernel.iommufdLast || nr === tests?.last;
    const found = tests?.operations.get(request) ?? operations.get(request);
    return runCall(caller, context, isThere ? found : undefined, argument);
  }

  mmap(): never {
    fail(this.context.machine.kernel.iommufdMmap);
  }

  release(): void {
    this.context.drop();
  }
}

/** IOMMU_DESTROY. ENOENT; EBUSY: something uses it. */
function destroy({ buffer, context }: Call): void {
  const { objects } = context;
  const object = objects.any(buffer.u32(Destroy.at.id)) ?? fail('ENOENT');
  if (object.users > 0) fail('EBUSY');
  objects.remove(object);
  if (context.compatIoas === object) context.compatIoas = null;
}
