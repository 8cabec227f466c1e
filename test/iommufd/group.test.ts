import { expect, it } from 'vitest';
import { writeStruct } from '../../src/abi/layout.js';
import { CdevIoctl, GroupIoctl } from '../../src/abi/vfio.js';
import { DeviceBindIommufd } from '../../src/abi/vfio-structs.js';
import type { VfioFile } from '../../src/file/file.js';
import { BUFFER, errnoOf } from '../vfio/kit.js';
import { IommufdKit } from './kit.js';

const NOWHERE = 0x7000_0000;

it('a device that its group holds cannot be bound: EFAULT where nothing can be read, else EINVAL', () => {
  const { kit, fd } = new IommufdKit();
  kit.openGroup(1);
  const group = kit.process.get(fd + 1).what as VfioFile;
  kit.call(group, GroupIoctl.VFIO_GROUP_SET_CONTAINER, Uint8Array.of(fd, 0, 0, 0));
  const device = kit.openDevice(1);
  const bind = (at: number) =>
    errnoOf(() => device.ioctl(kit.process, CdevIoctl.VFIO_DEVICE_BIND_IOMMUFD, at));
  kit.mm.copyTo(
    BUFFER,
    writeStruct(DeviceBindIommufd, { argsz: DeviceBindIommufd.size, iommufd: fd }),
  );
  expect([bind(NOWHERE), bind(BUFFER)]).toEqual(['EFAULT', 'EINVAL']);
  expect(kit.functions[0]!.iommu.domain).not.toBeNull();
});
