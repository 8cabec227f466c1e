import { expect, test } from 'vitest';
import { HwptVtdS1, HwptVtdS1Invalidate } from '../../src/abi/iommufd-structs.js';
import * as vfio from '../../src/abi/vfio.js';
import { Stage1DeviceIoctl, Stage1Ioctl } from '../../src/abi/vfio.js';
import {
  Stage1Alloc,
  Stage1Attach,
  Stage1Detach,
  Stage1Invalidate,
} from '../../src/abi/vfio-structs.js';
import { architecture } from '../../src/exec/arch/index.js';
import {
  CALL_COLUMNS,
  CallColumn,
  type FileKind,
  IMAGE_BYTES,
} from '../../src/exec/live/call-log.js';
import { callsInWords } from '../../src/exec/live/call-text.js';

const arch = architecture('x64')!;
const names: Readonly<Record<FileKind, string>> = {
  container: '/dev/vfio/vfio',
  group: '/dev/vfio/9',
  device: 'anon_inode:[vfio-device]',
  iommufd: '/dev/iommu',
  'fault-queue': 'anon_inode:[iommufd-pgfault]',
  'iommufd-test': 'anon_inode:[iommufd_test_staccess]',
};

/** An ioctl in words; `words`: its argument's memory as u32. */
function text(kind: FileKind, request: number, words: readonly number[]): string {
  const numbers = new Float64Array(CALL_COLUMNS);
  numbers[CallColumn.nr] = arch.nr.ioctl;
  numbers[CallColumn.descriptor] = 960;
  numbers[CallColumn.bytesIn] = 4 * words.length;
  numbers[CallColumn.argument + 1] = request;
  numbers[CallColumn.argument + 2] = 0x1000;
  const images = new Uint8Array(2 * IMAGE_BYTES);
  new Uint32Array(images.buffer).set(words);
  return callsInWords(
    { total: 1, numbers, images, names: [names[kind]], kinds: [kind] },
    arch,
    0,
  )[0]!.text;
}

test('the calls of a first stage have names and fields, on container, device and fault queue', () => {
  const { VFIO_DEVICE_ATTACH_STAGE1, VFIO_DEVICE_DETACH_STAGE1 } = Stage1DeviceIoctl;
  const { VFIO_STAGE1_INVALIDATE } = Stage1Ioctl;
  expect([
    text('container', vfio.IopfIoctl.VFIO_IOMMU_STAGE1_ALLOC, [
      Stage1Alloc.size + HwptVtdS1.size,
      0,
      1,
      HwptVtdS1.size,
      0,
      0,
      0x5000,
      0,
      48,
      0,
    ]),
    text('device', VFIO_DEVICE_ATTACH_STAGE1, [Stage1Attach.size, 0, 961, 0]),
    text('device', VFIO_DEVICE_DETACH_STAGE1, [Stage1Detach.size, 0]),
    text('fault-queue', VFIO_STAGE1_INVALIDATE, [
      Stage1Invalidate.size + HwptVtdS1Invalidate.size,
      0,
      0x7000,
      0,
      2,
      0,
      1,
      0,
    ]),
  ]).toMatchInlineSnapshot(`
    [
      "ioctl(960</dev/vfio/vfio>, VFIO_IOMMU_STAGE1_ALLOC, {argsz=40, flags=0, data_type=1, data_len=24, flags=0x0, pgtbl_addr=0x5000, addr_width=48, reserved=0})",
      "ioctl(960<anon_inode:[vfio-device]>, VFIO_DEVICE_ATTACH_STAGE1, {argsz=16, flags=0, queue_fd=961, out_dev_id=0})",
      "ioctl(960<anon_inode:[vfio-device]>, VFIO_DEVICE_DETACH_STAGE1, {argsz=8, flags=0})",
      "ioctl(960<anon_inode:[iommufd-pgfault]>, VFIO_STAGE1_INVALIDATE, {argsz=32, flags=0, addr=0x7000, npages=0x2, flags=1, hw_error=0})",
    ]
  `);
});

test('a fault queue is no device: it has none of its requests', () => {
  const { VFIO_DEVICE_RESET } = vfio.DeviceIoctl;
  expect(text('fault-queue', VFIO_DEVICE_RESET, [])).toContain('_IOC(');
  expect(text('device', VFIO_DEVICE_RESET, [])).toContain('VFIO_DEVICE_RESET');
});
