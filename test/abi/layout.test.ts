import { describe, expect, it } from 'vitest';
import { ArgumentBuffer } from '../../src/abi/argument-buffer.js';
import { formatFlags, formatStruct, readStruct, writeStruct } from '../../src/abi/layout.js';
import { DmaMapFlag, IrqSetFlag } from '../../src/abi/vfio.js';
import {
  DeviceInfo,
  DirtyBitmapGet,
  DmaAvailCap,
  DmaMap,
  DmaUnmap,
  InfoCapHeader,
  IommuType1Info,
  IovaRangeCap,
  IrqInfo,
  IrqSet,
  MigrationCap,
  PciDependentDevice,
  RegionInfo,
  VfioBitmap,
} from '../../src/abi/vfio-structs.js';

describe('struct layouts', () => {
  it('have the sizes that a C compiler gives them', () => {
    const sizes = [
      DmaMap,
      DmaUnmap,
      VfioBitmap,
      DirtyBitmapGet,
      IommuType1Info,
      MigrationCap,
      DmaAvailCap,
      IovaRangeCap,
      InfoCapHeader,
      DeviceInfo,
      RegionInfo,
      IrqInfo,
      IrqSet,
      PciDependentDevice,
    ].map((layout) => [layout.name.replace('vfio_', ''), layout.size]);
    expect(Object.fromEntries(sizes)).toEqual({
      iommu_type1_dma_map: 32,
      iommu_type1_dma_unmap: 24,
      bitmap: 24,
      iommu_type1_dirty_bitmap_get: 40,
      iommu_type1_info: 24,
      iommu_type1_info_cap_migration: 32,
      iommu_type1_info_dma_avail: 12,
      iommu_type1_info_cap_iova_range: 16,
      info_cap_header: 8,
      device_info: 24,
      region_info: 32,
      irq_info: 16,
      irq_set: 20,
      pci_dependent_device: 8,
    });
  });

  it('pad before a field that needs alignment', () => {
    expect(MigrationCap.at.pgsize_bitmap).toBe(16);
    expect(MigrationCap.end.flags).toBe(12);
  });

  it('read back what they wrote', () => {
    const values = {
      argsz: 32,
      flags: 3,
      vaddr: 0x7fff_1234_5000n,
      iova: 2n ** 63n,
      size: 0x1000n,
    };
    expect(readStruct(DmaMap, writeStruct(DmaMap, values))).toEqual(values);
  });

  it('read the fields that a short struct has', () => {
    expect(readStruct(DmaMap, writeStruct(DmaMap, { argsz: 8, flags: 1 }).subarray(0, 12))).toEqual(
      {
        argsz: 8,
        flags: 1,
      },
    );
  });

  it('print as strace does, with the rest of a short struct left out', () => {
    const bytes = writeStruct(DmaMap, {
      argsz: 32,
      flags: 5,
      vaddr: 0x1000n,
      iova: 0x2000n,
      size: 0x3000n,
    });
    expect(formatStruct(DmaMap, bytes)).toBe(
      '{argsz=32, flags=VFIO_DMA_MAP_FLAG_READ|VFIO_DMA_MAP_FLAG_VADDR, vaddr=0x1000, iova=0x2000, size=0x3000}',
    );
    expect(formatStruct(DmaMap, bytes.subarray(0, 8))).toBe(
      '{argsz=32, flags=VFIO_DMA_MAP_FLAG_READ|VFIO_DMA_MAP_FLAG_VADDR, ...}',
    );
  });

  it('print bits without a name in hexadecimal', () => {
    expect(formatFlags(DmaMapFlag, 0)).toBe('0');
    expect(formatFlags(IrqSetFlag, 0x8000_0021)).toBe(
      'VFIO_IRQ_SET_DATA_NONE|VFIO_IRQ_SET_ACTION_TRIGGER|0x80000000',
    );
  });
});

describe('an argument buffer', () => {
  it('has exact page numbers of every 64-bit address', () => {
    const buffer = new ArgumentBuffer(8);
    new DataView(buffer.bytes.buffer).setBigUint64(0, 0xffff_ffff_ffff_f234n, true);
    expect(buffer.pages(0)).toBe(2 ** 52 - 1);
    expect(buffer.inPage(0)).toBe(0x234);
  });

  it('writes pages as addresses, and all of 64 bits as 0', () => {
    const buffer = new ArgumentBuffer(8);
    buffer.setPages(0, 2 ** 40 + 5);
    expect(new DataView(buffer.bytes.buffer).getBigUint64(0, true)).toBe((2n ** 40n + 5n) * 4096n);
    buffer.setPages(0, 2 ** 52);
    expect(buffer.pages(0)).toBe(0);
  });

  it('gives the same prefix for the same length', () => {
    const buffer = new ArgumentBuffer(8);
    expect(buffer.prefix(4)).toBe(buffer.prefix(4));
    buffer.setU32(0, 7);
    expect([...buffer.prefix(4)]).toEqual([7, 0, 0, 0]);
    buffer.setU64(0, 2 ** 40 + 1);
    expect([buffer.u64(0), buffer.u32(4), buffer.s32(0)]).toEqual([2 ** 40 + 1, 256, 1]);
  });
});
