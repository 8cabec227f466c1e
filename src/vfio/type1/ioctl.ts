/** The ioctls of a container that has a type1 IOMMU (kernel: vfio_iommu_type1_ioctl). */
import { fail } from '../../abi/errno.js';
import { IopfIoctl, Type1Ioctl } from '../../abi/vfio.js';
import type { Caller } from '../../file/caller.js';
import { runDirect } from '../../flow/direct.js';
import { allocateStage1 } from '../stage1-file.js';
import { dirtyPages } from './dirty-pages.js';
import { getIommuInfo } from './iommu-info.js';
import { mapDma } from './map-dma.js';
import type { Type1 } from './type1.js';
import { unmapDma } from './unmap-dma.js';

/** ENOTTY: no such call, or one of IOPF or of first stages where there are none. */
export function type1Ioctl(
  caller: Caller,
  request: number,
  argument: number,
  type1: Type1,
): number {
  switch (request) {
    case Type1Ioctl.VFIO_IOMMU_GET_INFO:
      getIommuInfo(caller, argument, type1);
      return 0;
    case Type1Ioctl.VFIO_IOMMU_MAP_DMA:
      mapDma(caller, argument, type1);
      return 0;
    case Type1Ioctl.VFIO_IOMMU_UNMAP_DMA:
      unmapDma(caller, argument, type1);
      return 0;
    case Type1Ioctl.VFIO_IOMMU_DIRTY_PAGES:
      dirtyPages(caller, argument, type1);
      return 0;
    case IopfIoctl.VFIO_IOMMU_ENABLE_IOPF:
      if (type1.machine.iopf === 'off') fail('ENOTTY');
      runDirect(type1.space.iopf.enable());
      return 0;
    case IopfIoctl.VFIO_IOMMU_DISABLE_IOPF:
      if (type1.machine.iopf === 'off') fail('ENOTTY');
      runDirect(type1.space.iopf.disable());
      return 0;
    case IopfIoctl.VFIO_IOMMU_STAGE1_ALLOC: {
      const { nesting, space, machine } = type1;
      if (!nesting) fail('ENOTTY');
      return caller.install(allocateStage1(caller, argument, space, machine.tables!));
    }
    default:
      return fail('ENOTTY');
  }
}
