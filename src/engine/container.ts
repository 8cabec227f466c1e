/** A container of VFIO's type1: /dev/vfio/vfio with one group in it. */
import { s32, structLayout } from '../abi/layout.js';
import { ContainerIoctl, GroupIoctl, Type1Ioctl, VfioExtension } from '../abi/vfio.js';
import { DmaMap, DmaUnmap } from '../abi/vfio-structs.js';
import { READ, WRITE } from '../mm/address-space.js';
import {
  createEngine,
  type EmbeddedOptions,
  type Engine,
  type EngineOptions,
  type Front,
  type SimulatedEngine,
} from './engine.js';
import { called } from './engine-error.js';

const Descriptor = structLayout('int', { fd: s32 });

/** Opens a container with a device in it. Throws `EngineError`. */
export function createContainer(options?: EngineOptions): SimulatedEngine;
export function createContainer(options: EmbeddedOptions): Engine;
export function createContainer(options: EngineOptions | EmbeddedOptions = {}): Engine {
  return createEngine(containerFront, options);
}

function containerFront({ call, caller, machine, opened }: Front): Pick<Engine, 'map' | 'unmap'> {
  const container = machine.openContainer();
  const fd = opened(container);
  const group = machine.openGroup(1);
  opened(group);
  call(group, GroupIoctl.VFIO_GROUP_SET_CONTAINER, Descriptor, { fd });
  container.ioctl(caller, ContainerIoctl.VFIO_SET_IOMMU, VfioExtension.VFIO_TYPE1v2_IOMMU);
  return {
    map: ({ access = READ | WRITE, iova, size, vaddr }) =>
      called('VFIO_IOMMU_MAP_DMA', () => {
        const values = { argsz: DmaMap.size, flags: access, vaddr, iova, size };
        call(container, Type1Ioctl.VFIO_IOMMU_MAP_DMA, DmaMap, values);
      }),
    unmap: (iova, size) =>
      called('VFIO_IOMMU_UNMAP_DMA', () => {
        const values = { argsz: DmaUnmap.size, iova, size };
        const answer = call(container, Type1Ioctl.VFIO_IOMMU_UNMAP_DMA, DmaUnmap, values);
        return Number(answer.u64(DmaUnmap.at.size));
      }),
  };
}
