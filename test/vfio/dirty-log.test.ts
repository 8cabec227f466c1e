import { describe, expect, it } from 'vitest';
import { writeStruct } from '../../src/abi/layout.js';
import { Type1Ioctl } from '../../src/abi/vfio.js';
import { DirtyBitmap, DirtyBitmapGet, VfioBitmap } from '../../src/abi/vfio-structs.js';
import { eduCopy } from '../../src/conformance/edu-copy.js';
import { PAGE_SIZE, READ, WRITE } from '../../src/mm/address-space.js';
import { BUFFER, BUFFER_PAGES, Kit } from './kit.js';

const BITMAP = BUFFER + (BUFFER_PAGES - 1) * PAGE_SIZE;

function setLog(kit: Kit, flags: number): void {
  kit.call(
    kit.container,
    Type1Ioctl.VFIO_IOMMU_DIRTY_PAGES,
    writeStruct(DirtyBitmap, { argsz: 8, flags }),
  );
}

/** The dirty bits of [iovaPage, iovaPage + 64 * words), as page offsets. */
function dirtyPages(kit: Kit, iovaPage: number, words: number): number[] {
  kit.mm.copyTo(BITMAP, new Uint8Array(words * 8));
  const get = writeStruct(DirtyBitmapGet, {
    iova: iovaPage * PAGE_SIZE,
    size: words * 64 * PAGE_SIZE,
  });
  const bytes = Uint8Array.from([
    ...writeStruct(DirtyBitmap, { argsz: DirtyBitmap.size + DirtyBitmapGet.size, flags: 4 }),
    ...get.subarray(0, DirtyBitmapGet.at['bitmap.pgsize']),
    ...writeStruct(VfioBitmap, { pgsize: PAGE_SIZE, size: words * 8, data: BITMAP }),
  ]);
  kit.call(kit.container, Type1Ioctl.VFIO_IOMMU_DIRTY_PAGES, bytes);
  const out = new Uint8Array(words * 8);
  kit.mm.copyFrom(BITMAP, out);
  return [...Array(words * 64).keys()].filter((bit) => (out[bit >> 3]! & (1 << (bit & 7))) !== 0);
}

describe('R6.3: the dirty log with IOPF on', () => {
  it('reports a page if and only if the device wrote it since the last report', () => {
    const kit = new Kit({ premapPages: 8 }).ready();
    kit.openDevice(1);
    kit.map(0x103, 100);
    const copy = (from: number, to: number): void =>
      eduCopy(kit.functions[0]!, (0x103 + from) * PAGE_SIZE, (0x103 + to) * PAGE_SIZE, 16);
    copy(0, 50);
    setLog(kit, 1);
    expect(dirtyPages(kit, 0x100, 2)).toEqual([]);
    copy(1, 40);
    copy(2, 99);
    expect(dirtyPages(kit, 0x100, 2)).toEqual([43, 102]);
    expect(dirtyPages(kit, 0x100, 2)).toEqual([]);
    copy(40, 40);
    expect(dirtyPages(kit, 0x100, 2)).toEqual([43]);
    setLog(kit, 2);
    copy(1, 41);
    setLog(kit, 1);
    expect(dirtyPages(kit, 0x100, 2)).toEqual([]);
  });

  it('leaves what was written beside the range to the report of that', () => {
    const kit = new Kit().ready();
    kit.openDevice(1);
    for (const first of [0x100, 0x140, 0x180]) kit.map(first, 64, first - 0x100);
    setLog(kit, 1);
    for (const page of [0x100, 0x13f, 0x140, 0x17f, 0x180])
      eduCopy(kit.functions[0]!, page * PAGE_SIZE, page * PAGE_SIZE, 16);
    expect(dirtyPages(kit, 0x140, 1)).toEqual([0, 63]);
    expect(dirtyPages(kit, 0x100, 3)).toEqual([0, 63, 128]);
  });

  it('reports all of a pinned mapping, each time', () => {
    const kit = new Kit().ready();
    kit.map(0x100, 64, 0, READ | WRITE | 8);
    setLog(kit, 1);
    expect(dirtyPages(kit, 0x100, 1)).toHaveLength(64);
    expect(dirtyPages(kit, 0x100, 1)).toHaveLength(64);
  });
});
