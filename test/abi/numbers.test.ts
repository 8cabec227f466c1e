import { constants as files } from 'node:fs';
import { constants } from 'node:os';
import { describe, expect, it, test } from 'vitest';
import { Errno, errnoName } from '../../src/abi/errno.js';
import * as iommufd from '../../src/abi/iommufd.js';
import * as mock from '../../src/abi/iommufd-test.js';
import * as linux from '../../src/abi/linux.js';
import * as pci from '../../src/abi/pci.js';
import { Random } from '../../src/abi/random.js';
import * as vfio from '../../src/abi/vfio.js';

/** So many numbers from `first` on. */
const from = (first: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => first + i);
/** So many bits from bit 0 on. */
const bits = (count: number): number[] => from(0, count).map((bit) => 2 ** bit);

type Numbers = Readonly<Record<string, number>>;

describe('the numbers of the wire are Linux’s', () => {
  const ioctl = (first: number, count: number): number[] => from(0x3b00 + first, count);
  test.each<[string, Numbers, number[]]>([
    ['containers', vfio.ContainerIoctl, ioctl(100, 3)],
    ['groups', vfio.GroupIoctl, ioctl(103, 4)],
    ['devices', vfio.DeviceIoctl, ioctl(107, 11)],
    ['devices’ own files', vfio.CdevIoctl, ioctl(118, 3)],
    ['type1', vfio.Type1Ioctl, ioctl(112, 6)],
    ['IOPF', vfio.IopfIoctl, [...ioctl(118, 2), ...ioctl(124, 1)]],
    ['devices with a first stage', vfio.Stage1DeviceIoctl, ioctl(125, 2)],
    ['first stages', vfio.Stage1Ioctl, ioctl(127, 1)],
    ['iommufd', iommufd.IommufdIoctl, ioctl(0x80, 21)],
    ['iommufd’s tests', { call: mock.IOMMU_TEST_CMD }, ioctl(0xa0, 1)],
  ])('calls of %s', (_, calls, numbers) => {
    expect(Object.values(calls)).toEqual(numbers);
  });

  test.each(
    Object.entries({
      ...only(vfio, /Flag$/),
      ...only(iommufd, /Flag$/),
      MockDevice: mock.MockDevice,
      IommuHwCapability: iommufd.IommuHwCapability,
    }).filter(([name]) => name !== 'DeviceFeatureFlag'),
  )('%s: one bit each, in the order of the header', (_, flags) => {
    expect(Object.values(flags)).toEqual(bits(Object.keys(flags).length));
  });

  test.each<[string, Numbers, number[]]>([
    ['extensions', vfio.VfioExtension, from(1, 11)],
    ['capabilities of a region', vfio.RegionCapability, from(1, 3)],
    ['capabilities of type1', vfio.IommuInfoCapability, from(1, 4)],
    ['flags of a feature', vfio.DeviceFeatureFlag, [2 ** 16, 2 ** 17, 2 ** 18]],
    ['options', iommufd.OptionId, [0, 1, 2 ** 31]],
    ['what is done with an option', iommufd.OptionOp, [0, 1]],
    ['what is done with type1’s space', iommufd.VfioIoasOp, [0, 1, 2]],
    ['regions', pci.PciRegionIndex, [0, 5, 6, 7, 8, 9]],
    ['interrupts', pci.PciInterruptIndex, from(0, 6)],
    ['operations of iommufd’s tests', mock.TestOp, from(1, 23)],
    ['accesses of iommufd’s tests', mock.MockAccess, [1, 1, 4, 65536]],
    ['page tables of iommufd’s tests', mock.MockPageTable, [0, 1]],
  ])('%s', (_, numbers, expected) => {
    expect(Object.values(numbers)).toEqual(expected);
  });

  it('those that stand alone', () => {
    expect(plain(vfio)).toEqual({
      VFIO_TYPE: 0x3b,
      VFIO_API_VERSION: 0,
      VFIO_DEVICE_ATTACH_PASID: 1,
      VFIO_PCI_DEVID_OWNED: 0,
      VFIO_PCI_DEVID_NOT_OWNED: 0xffff_ffff,
      VFIO_IRQ_SET_DATA_TYPE_MASK: 7,
      VFIO_IRQ_SET_ACTION_TYPE_MASK: 0x38,
      VFIO_DEVICE_FEATURE_MASK: 0xffff,
      REGION_OFFSET: 2 ** 40,
    });
    expect(plain(iommufd)).toEqual({
      IOMMUFD_TYPE: 0x3b,
      IOMMUFD_CMD_BASE: 0x80,
      IOMMUFD_CMD_LAST_612: 0x8e,
      IOMMUFD_CMD_LAST_72: 0x94,
      HWPT_DATA_NONE: 0,
      HWPT_DATA_VTD_S1: 1,
      HWPT_INVALIDATE_DATA_VTD_S1: 0,
      HW_INFO_TYPE_INTEL_VTD: 1,
      HWPT_DIRTY_TRACKING_ENABLE: 1,
      HWPT_GET_DIRTY_BITMAP_NO_CLEAR: 1,
      IOMMU_VTD_INV_FLAGS_LEAF: 1,
    });
    expect(plain(linux)).toEqual({
      AT_FDCWD: -100,
      F_SETFD: 2,
      F_GETFL: 3,
      F_SETFL: 4,
      F_DUPFD_CLOEXEC: 1030,
      MFD_CLOEXEC: 1,
      O_RDONLY: files.O_RDONLY,
      O_RDWR: files.O_RDWR,
      O_CREAT: files.O_CREAT,
      O_NONBLOCK: files.O_NONBLOCK,
      O_CLOEXEC: 0x80000,
      PROT_READ: 1,
      PROT_WRITE: 2,
      PROT_EXEC: 4,
      MAP_SHARED: 1,
      MAP_PRIVATE: 2,
      MAP_SHARED_VALIDATE: 3,
      MAP_FIXED: 0x10,
      MAP_ANONYMOUS: 0x20,
      MAP_LOCKED: 0x2000,
      MAP_NORESERVE: 0x4000,
      MAP_POPULATE: 0x8000,
      MAP_FIXED_NOREPLACE: 0x100000,
      AF_UNIX: 1,
      SOCK_STREAM: 1,
      SOCK_DGRAM: 2,
      SOCK_NONBLOCK: 0x800,
      SOCK_CLOEXEC: 0x80000,
      SOL_SOCKET: 1,
      SCM_RIGHTS: 1,
      MSG_CMSG_CLOEXEC: 0x4000_0000,
      POLLIN: 1,
      POLLOUT: 4,
      POLLHUP: 0x10,
      CLONE_VM: 0x100,
      CLONE_THREAD: 0x10000,
      MREMAP_MAYMOVE: 1,
      MREMAP_FIXED: 2,
      MREMAP_DONTUNMAP: 4,
      SIGKILL: constants.signals.SIGKILL,
      SIGSEGV: constants.signals.SIGSEGV,
      SIG_BLOCK: 0,
      SIG_UNBLOCK: 1,
      SIG_SETMASK: 2,
      SIGSET_BYTES: 8,
    });
    expect(plain(mock)).toEqual({
      IOMMUFD_CMD_TEST: 0xa0,
      IOMMU_TEST_CMD: 0x3ba0,
      TEST_OP_LAST_612: 15,
      TEST_OP_LAST_72: 23,
      MOCK_PAGE_SIZE: 2048,
      MOCK_HUGE_PAGE_SIZE: 2 ** 20,
      MOCK_PASID_BITS: 20,
      PASID_RESERVED: 1024,
      MOCK_CACHE_ENTRIES: 4,
      MOCK_DEVICE_CACHE_DEFAULT: 0xbad_dad,
      MOCK_HW_QUEUES: 2,
      MOCK_INVALIDATE_ALL: 1,
      HW_INFO_SELFTEST_REGISTER: 0xdead_beef,
    });
    expect(mock.MOCK_APERTURE).toEqual({ first: 0x100_0000n, end: 0x8000_0000n });
    expect(mock.TestCmd).toEqual({ size: 72, end: { last: 68 } });
    expect(Object.values(mock.SelftestType)).toEqual([
      ...[0xfeed_beef, 0xdead, 0xdead_beef, 0xdead_beef, 0xdead_beef, 0xbeef_beef, 0xdead_beef],
    ]);
  });

  it('errnos, as Node has them', () => {
    const { errno } = constants as { errno: Numbers };
    for (const [name, number] of Object.entries(Errno)) {
      expect(errnoName(number)).toBe(name);
      // Those that only Linux has are not in Node's list.
      expect(number, name).toBe({ EBADE: 52, EBADFD: 77 }[name] ?? errno[name]);
    }
    expect(errnoName(9999)).toBe('errno 9999');
  });
});

describe('PCI: the registers of a capability are those of pci_regs.h', () => {
  test.each<[string, Numbers, number[]]>([
    ['power management', pci.PciPm, [2, 4, 8, 3, 3, 8]],
    ['MSI', pci.PciMsi, [2, 4, 8, 8, 12, 12, 16, 20, 1, 0xe, 0x70, 0x80, 0x100]],
    ['MSI-X', pci.PciMsix, [2, 4, 8, 12, 0x8000, 0x4000, 0x7ff, 7, 16, 0, 4, 8, 12, 1]],
    [
      'PCI Express',
      pci.PciExpress,
      [2, 4, 8, 10, 12, 16, 18, 36, 40, 60, 0xf0, 0x1000_0000, 0x8000],
    ],
    ['extended capabilities', pci.PciExtended, [0x100, 15, 19, 0x10000]],
    ['ATS', pci.PciAts, [4, 6, 0x20, 0x8000]],
    ['PRI', pci.PciPri, [4, 6, 8, 12, 1]],
    ['ids', pci.PciCapability, [1, 3, 5, 9, 16, 17, 19]],
    ['the command register', pci.PciCommand, [1, 2, 4, 8, 16, 32, 64, 256, 512, 1024]],
    ['the status register', pci.PciStatus, [8, 16, 0x1000, 0x2000, 0x4000, 0x8000]],
    ['base addresses', pci.PciBar, [1, 4, 8, 15, 3, 1, 0xffff_f800]],
  ])('%s', (_, registers, expected) => {
    expect(Object.values(registers)).toEqual(expected);
  });

  it('the header', () => {
    expect(Object.values(pci.PciConfig)).toEqual([
      ...[0x00, 0x02, 0x04, 0x06, 0x08, 0x09, 0x0a, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x24, 0x28],
      ...[0x2c, 0x2e, 0x30, 0x34, 0x3c, 0x3d, 0x3e, 0x3f],
    ]);
    expect(plain(pci)).toEqual({
      PCI_CONFIG_SIZE: 256,
      PCIE_CONFIG_SIZE: 4096,
      PCI_CAP_ID: 0,
      PCI_CAP_NEXT: 1,
    });
  });
});

/** mulberry32, as its author published it: recordings and seeds rely on it. */
test('random numbers are the same for the same seed, on every machine', () => {
  const random = new Random(1);
  const words = Array.from({ length: 4 }, () => random.next() * 2 ** 32);
  expect(words).toEqual([2693262067, 11749833, 2265367787, 4213581821]);
  const digits = Array.from({ length: 999 }, () => random.below(3));
  expect([...new Set(digits)].sort()).toEqual([0, 1, 2]);
});

/** The tables of a module whose name matches. */
function only(module: object, name: RegExp): Record<string, Numbers> {
  return Object.fromEntries(Object.entries(module).filter(([key]) => name.test(key)));
}

/** The numbers of a module that are in no table. */
function plain(module: object): Record<string, number> {
  return Object.fromEntries(
    Object.entries(module).filter(([, value]) => typeof value === 'number'),
  ) as Record<string, number>;
}
