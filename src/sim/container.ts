/** A simulated process with a container of the shipped engine, used through its ioctls. */
import { writeStruct } from '../abi/layout.js';
import { ContainerIoctl, DmaMapFlag, GroupIoctl, Type1Ioctl, VfioExtension } from '../abi/vfio.js';
import { DmaMap, DmaUnmap } from '../abi/vfio-structs.js';
import { silentFunction } from '../device/silent-function.js';
import type { Caller, CallerFile, ReservedDescriptor } from '../file/caller.js';
import { DescriptorList } from '../file/descriptor-list.js';
import type { VfioFile } from '../file/file.js';
import { AdaptivePremap } from '../ioas/iopf/premap.js';
import { IommuDevice } from '../iommu/device.js';
import { Counters, type Observer } from '../iommu/observer.js';
import { PAGE_SIZE, READ, WRITE } from '../mm/address-space.js';
import { SimulatedSpace } from '../mm/simulated.js';
import type { SimulatedMemory } from '../mm/simulated-memory.js';
import { createMachine } from '../vfio/machine.js';
import type { HostMemory } from './host-memory.js';
import type { Policy } from './policy.js';

/** Where arguments of calls are put, in pages: below all memory of the workload. */
const ARGUMENTS = 16;
const IOTLB_ENTRIES = 256;

export class SimulatedContainer implements Caller {
  readonly mm: SimulatedSpace;
  readonly device: IommuDevice;
  readonly sysResource = false;
  private readonly containerFile: VfioFile;
  private readonly descriptors = new DescriptorList();

  constructor(
    memory: SimulatedMemory,
    policy: Policy,
    counters: Counters,
    observer: Observer,
    id: number,
  ) {
    this.mm = new SimulatedSpace(memory, { id });
    this.mm.mmap(ARGUMENTS, 1, { kind: 'anon', protection: READ | WRITE });
    this.mm.mlock(ARGUMENTS, 1);
    this.device = new IommuDevice({
      address: '0000:00:01.0',
      counters,
      observer,
      iotlbEntries: IOTLB_ENTRIES,
    });
    const { premap } = policy;
    const machine = createMachine({
      groups: [{ number: 1, functions: [silentFunction(this.device)] }],
      iopf: policy.pinned ? 'off' : 'auto',
      dmaEntryLimit: 2 ** 24,
      ...(premap === 'adaptive' ? { premap: () => new AdaptivePremap() } : { premapPages: premap }),
      counters,
      observer,
    });
    this.containerFile = machine.openContainer();
    const group = machine.openGroup(1);
    this.install(group);
    const fd = new Uint8Array(4);
    new DataView(fd.buffer).setInt32(0, this.install(this.containerFile), true);
    this.call(group, GroupIoctl.VFIO_GROUP_SET_CONTAINER, fd);
    this.containerFile.ioctl(this, ContainerIoctl.VFIO_SET_IOMMU, VfioExtension.VFIO_TYPE1v2_IOMMU);
  }

  /** VFIO_IOMMU_MAP_DMA, in pages; throws VfioError. */
  map(
    iovaPage: number,
    pages: number,
    vaddrPage: number,
    permission: number,
    pinned = false,
  ): void {
    const values = {
      argsz: DmaMap.size,
      flags: permission | (pinned ? DmaMapFlag.VFIO_DMA_MAP_FLAG_PINNED : 0),
      vaddr: vaddrPage * PAGE_SIZE,
      iova: iovaPage * PAGE_SIZE,
      size: BigInt(pages) * BigInt(PAGE_SIZE),
    };
    this.call(this.containerFile, Type1Ioctl.VFIO_IOMMU_MAP_DMA, writeStruct(DmaMap, values));
  }

  /** VFIO_IOMMU_UNMAP_DMA, in pages; throws VfioError. */
  unmap(iovaPage: number, pages: number): void {
    const values = {
      argsz: DmaUnmap.size,
      flags: 0,
      iova: iovaPage * PAGE_SIZE,
      size: BigInt(pages) * BigInt(PAGE_SIZE),
    };
    this.call(this.containerFile, Type1Ioctl.VFIO_IOMMU_UNMAP_DMA, writeStruct(DmaUnmap, values));
  }

  file(fd: number): CallerFile | null {
    return this.descriptors.file(fd);
  }

  install(file: VfioFile): number {
    return this.descriptors.install(file);
  }

  reserve(file: VfioFile): ReservedDescriptor {
    return this.descriptors.reserve(file);
  }

  private call(file: VfioFile, request: number, argument: Uint8Array): void {
    this.mm.copyTo(ARGUMENTS * PAGE_SIZE, argument);
    file.ioctl(this, request, ARGUMENTS * PAGE_SIZE);
  }
}

const unobserved: Observer = { map() {}, unmap() {}, pageRequest() {}, pageResponse() {} };

/**
 * The container of a program on a host. Where that counts pins, a page that is pinned is there, so
 * that it takes a frame when it is first used, at no cost and told to nobody.
 */
export function containerOn(
  host: HostMemory,
  policy: Policy,
  counters: Counters,
  observer: Observer,
  id: number,
): SimulatedContainer {
  if (!host.countsPins) return new SimulatedContainer(host.memory, policy, counters, observer, id);
  const asUsed = { ...policy, pinned: false };
  return new SimulatedContainer(host.memory, asUsed, new Counters(), unobserved, id);
}
