/** An I/O address space of an iommufd: /dev/iommu with one device attached. */
import { IoasMapFlag, IommufdIoctl } from '../abi/iommufd.js';
import { IoasAlloc, IoasMap, IoasUnmap } from '../abi/iommufd-structs.js';
import { CdevIoctl } from '../abi/vfio.js';
import { DeviceAttachIommufdPt, DeviceBindIommufd } from '../abi/vfio-structs.js';
import { READ, WRITE } from '../mm/address-space.js';
import {
  ADDRESS,
  createEngine,
  type EmbeddedOptions,
  type Engine,
  type EngineOptions,
  type Front,
  type SimulatedEngine,
} from './engine.js';
import { called } from './engine-error.js';

/** DeviceAttachIommufdPt without its PASID, as Linux 6.12 has it. */
const ATTACH_SIZE = DeviceAttachIommufdPt.at.pasid;
const BIND_SIZE = DeviceBindIommufd.at.token_uuid_ptr;

/** Opens an IOAS with a device attached to it. Throws `EngineError`: Linux 6.1 has none, ENOENT. */
export function createIoas(options?: EngineOptions): SimulatedEngine;
export function createIoas(options: EmbeddedOptions): Engine;
export function createIoas(options: EngineOptions | EmbeddedOptions = {}): Engine {
  return createEngine(ioasFront, options);
}

function ioasFront({ call, machine, opened }: Front): Pick<Engine, 'map' | 'unmap'> {
  const iommufd = machine.openIommufd();
  const fd = opened(iommufd);
  const device = machine.openDevice(ADDRESS);
  opened(device);
  const bind = { argsz: BIND_SIZE, iommufd: fd };
  call(device, CdevIoctl.VFIO_DEVICE_BIND_IOMMUFD, DeviceBindIommufd, bind);
  const alloc = { size: IoasAlloc.size };
  const ioas_id = call(iommufd, IommufdIoctl.IOMMU_IOAS_ALLOC, IoasAlloc, alloc).u32(
    IoasAlloc.at.out_ioas_id,
  );
  const attach = { argsz: ATTACH_SIZE, pt_id: ioas_id };
  call(device, CdevIoctl.VFIO_DEVICE_ATTACH_IOMMUFD_PT, DeviceAttachIommufdPt, attach);
  return {
    map: ({ access = READ | WRITE, iova, size, vaddr }) =>
      called('IOMMU_IOAS_MAP', () => {
        const flags =
          IoasMapFlag.IOMMU_IOAS_MAP_FIXED_IOVA |
          ((access & READ) === 0 ? 0 : IoasMapFlag.IOMMU_IOAS_MAP_READABLE) |
          ((access & WRITE) === 0 ? 0 : IoasMapFlag.IOMMU_IOAS_MAP_WRITEABLE);
        const where = { user_va: vaddr, length: size, iova };
        const values = { size: IoasMap.size, flags, ioas_id, ...where };
        call(iommufd, IommufdIoctl.IOMMU_IOAS_MAP, IoasMap, values);
      }),
    unmap: (iova, size) =>
      called('IOMMU_IOAS_UNMAP', () => {
        const values = { size: IoasUnmap.size, ioas_id, iova, length: size };
        const answer = call(iommufd, IommufdIoctl.IOMMU_IOAS_UNMAP, IoasUnmap, values);
        return Number(answer.u64(IoasUnmap.at.length));
      }),
  };
}
